from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CAUGHT_BY = {
    "LosesNestedMetadata": "test_metadata_come_back_as_they_were",
    "TurnsTruthIntoNumbers": "test_metadata_come_back_as_they_were",
    "LosesDigests": "test_uri_and_digest_come_back",
    "BreaksTiesByLastId": "test_equal_scores_come_in_order_of_their_ids",
    "CutsBeforeBreakingTies": "test_ties_at_the_end_of_the_list_fall_by_id",
    "IgnoresFiltersInSearch": "test_every_filter_selects_what_the_evaluator_selects",
    "FiltersAfterCutting": "test_a_narrow_filter_still_gives_as_many_hits_as_match",
    "IgnoresFiltersInCount": "test_count_with_a_filter_counts_only_matches",
    "ReturnsOneMore": "test_never_more_than_k_hits",
    "AcceptsNaN": "test_a_bad_vector_is_refused_and_nothing_is_written",
    "RefusesWithoutIds": "test_a_refusal_of_one_record_names_its_id",
    "WritesHalfABadBatch": "test_a_bad_vector_at_the_end_of_a_large_batch_refuses_all_of_it",
    "MergesMetadata": "test_an_existing_record_is_replaced_as_a_whole",
    "WipesOnDeletingNothing": "test_deleting_no_ids_deletes_nothing",
    "CountsMissingAsDeleted": "test_delete_says_how_many_existed",
    "ScanRepeatsTheLastBatch": "test_scan_gives_every_record_exactly_once",
    "ScansByOffset": "test_writing_between_the_batches_of_a_scan_is_allowed",
    "DoesNotNormaliseQueries": "test_scores_mean_what_hit_says",
    "ReturnsDistances": "test_a_record_finds_itself_with_score_one",
    "ForgetsTheMetaCheck": "test_opening_an_open_store_with_another_embedder_is_refused",
    "RaisesForMissingIds": "test_get_returns_what_exists_and_leaves_out_the_rest",
    "AnswersAfterClose": "test_methods_refuse_a_store_that_is_not_open",
    "FoldsCaseOfIds": "test_any_id_up_to_128_bytes_works_everywhere",
    "HandsOutItsOwnMetadata": "test_changing_what_came_back_changes_nothing",
    "ClaimsPersistence": "test_what_was_written_is_there_after_reopening",
    "GuessesWhatItDidNotDeclare": "test_what_is_not_declared_is_refused_by_every_method",
    "MergesNotes": "test_a_second_note_of_a_name_replaces_the_first",
    "KeepsNotesAsTheyWereGiven": "test_changing_a_note_that_came_back_changes_nothing",
    "ScansInBatchesOfNothing": "test_a_scan_in_batches_of_nothing_is_refused",
    "BelongsToOneThread": "test_threads_may_read_while_others_write",
    "ReleasesByClosing": "test_handles_write_in_turn_once_they_are_released",
    "CountsMissingAsUpdated": "test_an_update_ignores_ids_that_are_not_there",
    "ForgetsWhatItDoesNotSet": "test_an_update_sets_fields_and_keeps_the_others",
    "RemembersFiltersAcrossUpdates": "test_filters_follow_an_update",
    "DeletesOnlyTheFirstMatch": "test_a_deletion_by_filter_deletes_all_that_match_and_nothing_else",
    "UpdatesByReadingAndWriting": "test_threads_that_set_different_fields_keep_all_of_them",
    "BringsDeletedRecordsBack": "test_a_record_that_is_deleted_beside_an_update_stays_deleted",
    "LocksOnlyItsOwnHandle": "test_clients_that_set_different_fields_keep_all_of_them",
    "BringsBackWhatOtherHandlesDeleted": (
        "test_a_client_that_updates_brings_back_nothing_that_another_one_deleted"
    ),
    "ChecksNothing": "test_a_damaged_vector_is_named_and_not_searched",
    "AlarmsWithoutCause": "test_a_sound_store_has_no_problems",
    "FindsOnlySomeOfTheNearest": "test_two_thousand_clustered_vectors_are_found",
    "SearchesFiltersAmongTheNewestOnly": "test_a_filter_finds_old_records_after_later_additions",
    "LosesSightOfOthersAmongCopies": "test_many_equal_vectors_do_not_hide_the_others",
    "RanksByRoundedVectors": "test_nearly_equal_vectors_are_ranked_exactly",
    "FindsTheDeadFirst": "test_most_records_can_be_deleted",
    "MissesWhatIsBeingAdded": "test_searches_miss_nothing_while_records_are_added",
    "LosesSightOfUpdatedRecords": "test_records_are_found_by_their_own_vector_after_updates",
}

FOR_SEVERAL_WRITERS = (
    "test_clients_that_set_different_fields_keep_all_of_them",
    "test_a_client_that_updates_brings_back_nothing_that_another_one_deleted",
)

_SUITES = """
import broken_stores
from imagesearch.stores.memory import MemoryStore
from imagesearch.testing import VectorStoreConformance

class TestMemoryStore(VectorStoreConformance):
    def make_store(self, place):
        return MemoryStore()

class TestSharedMemory(VectorStoreConformance):
    def make_store(self, place):
        return broken_stores.SharedMemory(place)
"""
_SUITE = """
class Test{store}(VectorStoreConformance):
    def make_store(self, place):
        return broken_stores.made(broken_stores.{store}, place)
    def damage(self, place, id):
        return broken_stores.damage(place, id)
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Run each rule on the store that breaks it and on the healthy one, in a pytest of their own."""
    folder = tmp_path_factory.mktemp("suites")
    suites = _SUITES + "".join(_SUITE.format(store=store) for store in CAUGHT_BY)
    (folder / "test_suites.py").write_text(suites)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = slow: long\nfilterwarnings = error\n")
    chosen = [f"(Test{store} and {rule})" for store, rule in CAUGHT_BY.items()]
    chosen += [f"(TestMemoryStore and {rule})" for rule in sorted(set(CAUGHT_BY.values()))]
    chosen += [f"(TestSharedMemory and {rule})" for rule in FOR_SEVERAL_WRITERS]
    here = str(Path(__file__).parent)
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-v",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:randomly",
            "-k",
            " or ".join(chosen),
            "test_suites.py",
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == pytest.ExitCode.TESTS_FAILED, run.stdout + run.stderr
    found: dict[tuple[str, str], set[str]] = {}
    for store, rule, outcome in re.findall(
        r"::Test(\w+)::(\w+)(?:\[.*\])? (PASSED|FAILED|ERROR|SKIPPED)", run.stdout
    ):
        found.setdefault((store, rule), set()).add(outcome)
    return found


@pytest.mark.parametrize("broken", CAUGHT_BY)
def test_a_store_that_breaks_one_rule_fails_the_test_of_that_rule(outcomes, broken):
    rule = CAUGHT_BY[broken]
    assert "FAILED" in outcomes[broken, rule]
    assert "ERROR" not in outcomes[broken, rule]


@pytest.mark.parametrize("rule", sorted(set(CAUGHT_BY.values())))
def test_a_store_that_keeps_all_rules_passes_the_same_test(outcomes, rule):
    assert outcomes["MemoryStore", rule] <= {"PASSED", "SKIPPED"}


@pytest.mark.parametrize("rule", FOR_SEVERAL_WRITERS)
def test_a_store_for_several_writers_passes_their_rules(outcomes, rule):
    assert outcomes["SharedMemory", rule] == {"PASSED"}
