"""Texts of the page in English and Chinese, and messages in the visitor's language."""

from __future__ import annotations

from typing import Any, Self

__all__ = ["LANGUAGES", "PHRASES", "Spoken", "counted", "in_language", "language_of", "phrase"]


LANGUAGES = ("en", "zh")

PHRASES: dict[str, tuple[str, str]] = {
    "title": ("Image search", "以图搜图"),
    "subtitle": (
        "Drop in an image to find similar ones.",
        "拖入一张图片，找出与它相似的图片。",
    ),
    "tab_search": ("Search", "搜索"),
    "tab_add": ("Add pictures", "添加图片"),
    "tab_facts": ("About this index", "索引信息"),
    "picture": ("Picture", "图片"),
    "picture_hint": (
        "# Drop a picture here\nor paste one, or click to choose a file",
        "# 把图片拖到这里\n也可以粘贴，或点击选择文件",
    ),
    "crop_on": (
        "Search with a part only: draw a box on the picture",
        "只用图片的一部分：在图片上画一个框",
    ),
    "crop": ("Box in % of the picture", "框的位置（占图片的百分比）"),
    "crop_info": ("left, top, right, bottom", "左，上，右，下"),
    "text": ("Words", "文字"),
    "text_info": (
        "alone, or together with a picture",
        "可单独使用，也可与图片一起使用",
    ),
    "id": ("Id of an indexed picture", "索引中图片的 ID"),
    "id_info": (
        "or click a picture on this page and ask for more like it",
        "也可以点击页面上的图片，再查找相似图片",
    ),
    "k": ("Results", "结果数量"),
    "min_score": ("Min. score", "最低分数"),
    "min_score_info": ("none", "不限"),
    "options": ("Filter and options", "筛选与选项"),
    "filters_none": (
        (
            "No field of this index has few enough values, or numbers, to choose from. What fields it has, "
            "to filter by as text, stands under “About this index”."
        ),
        "此索引没有可供选择的字段。全部字段见“索引信息”，可用文本方式筛选。",
    ),
    "meaning": ("The choices as text", "以上选择对应的筛选条件"),
    "where": ("Filter as text", "筛选条件（文本）"),
    "where_info": (
        "holds together with the choices above",
        "与上面的选择同时生效",
    ),
    "from": ("{} from", "{} 不小于"),
    "to": ("{} up to", "{} 不大于"),
    "search": ("Search", "搜索"),
    "clear": ("Clear", "清空"),
    "gallery": ("Pictures", "图片"),
    "more": ("More like this", "查找相似图片"),
    "status_browse_one": (
        "{} of {} picture in this index. Click it to see what is known about it.",
        "索引中 {1} 张图片中的 {0} 张。点击图片查看详情。",
    ),
    "status_browse": (
        "{} of {} pictures in this index. Click one to see what is known about it.",
        "索引中 {1} 张图片中的 {0} 张。点击图片查看详情。",
    ),
    "status_browse_filter_one": (
        "{} picture that matches the filter; there is no query, so there is no score.",
        "符合筛选条件的 {} 张图片；没有查询内容，因此没有分数。",
    ),
    "status_browse_filter": (
        "{} pictures that match the filter; there is no query, so they are not ranked.",
        "符合筛选条件的 {} 张图片；没有查询内容，因此未排序。",
    ),
    "status_hits": ("{} pictures like {}, best first", "与{1}相似的 {0} 张图片，最相似的在前"),
    "status_hits_one": ("{} picture like {}", "与{1}相似的 {0} 张图片"),
    "status_none": (
        "Nothing found. Lower the minimum score, or widen the filter.",
        "没有找到图片。请降低最低分数或放宽筛选条件。",
    ),
    "status_empty": (
        "This index is empty. Add pictures to see them here.",
        "索引是空的。请先添加图片。",
    ),
    "your_picture": ("your picture", "您的图片"),
    "your_crop": ("a part of your picture", "您的图片的一部分"),
    "score": ("score", "分数"),
    "source": ("source", "来源"),
    "add_files": (
        "Drop pictures here, or click to choose files",
        "把图片拖到这里，或点击选择文件",
    ),
    "add_fields": ("Fields for these pictures", "这些图片的字段"),
    "add_fields_info": ("one a line: name = value", "每行一个：名称 = 值"),
    "add_button": ("Add to the index", "添加到索引"),
    "added": ("added", "已添加"),
    "updated": ("updated", "已更新"),
    "unchanged": ("there already", "已存在"),
    "failed": ("failed", "失败"),
    "nothing_to_add": ("Choose pictures first.", "请先选择图片。"),
    "facts_images": ("pictures", "图片数量"),
    "facts_embedder": ("embedder", "特征提取模型"),
    "facts_dim": ("dimensions of a vector", "向量维度"),
    "facts_metric": ("metric", "度量方式"),
    "facts_text": ("search by words", "文字搜索"),
    "facts_store": ("store", "存储"),
    "facts_fields": ("Fields", "字段"),
    "facts_fields_none": ("The pictures have no fields.", "图片没有任何字段。"),
    "facts_projection": ("projection", "降维"),
    "facts_projected": (
        "from {} dimensions, fitted on {:,} pictures",
        "由 {} 维降维，根据 {:,} 张图片计算",
    ),
    "facts_sample_one": ("from the first picture", "根据第一张图片统计"),
    "facts_sample": (
        "from the first {} pictures",
        "根据前 {} 张图片统计",
    ),
    "yes": ("yes", "支持"),
    "no": ("no", "不支持"),
    "kind_text": ("text", "文本"),
    "kind_number": ("number", "数字"),
    "kind_truth": ("true or false", "真或假"),
    "kind_list": ("list", "列表"),
    "kind_mixed": ("mixed", "混合"),
    "true": ("true", "真"),
    "false": ("false", "假"),
    "error_title": ("Error", "出错了"),
    "error_picture": ("This picture cannot be used: {}", "无法使用这张图片：{}"),
    "error_format": (
        "This picture cannot be used: {}",
        "无法使用这张图片：服务器不能读取这种格式（{}）",
    ),
    "error_filter": (
        "The filter cannot be used: {}",
        '筛选条件无效，请检查写法，例如 kind = "fish"（{}）',
    ),
    "error_filter_unsupported": (
        "The filter cannot be used: {}",
        "此索引的存储不支持这个筛选条件（{}）",
    ),
    "error_query": ("{}", "无法查询（{}）"),
    "error_adding": ("{}", "无法添加（{}）"),
    "error_locked": (
        "Another process is writing to the index now; try again later.",
        "索引正被另一个进程写入，请稍后再试。",
    ),
    "error_server": (
        "The index cannot answer now ({}). The log of the server says why.",
        "索引暂时无法应答（{}）。原因请查看服务器日志。",
    ),
    "error_no_file": (
        "The uploaded file is gone; upload it again.",
        "上传的文件已失效，请重新上传。",
    ),
    "error_url": (
        "Addresses are not fetched; upload the picture itself.",
        "不会从网址获取图片，请直接上传图片。",
    ),
    "no_such_id": ("id {!r} is not in the index", "索引中没有 ID 为 {!r} 的图片"),
    "id_is_gone": (
        "id {!r} is not in the index any more; search again",
        "ID 为 {!r} 的图片已不在索引中，请重新搜索",
    ),
    "no_id": ("choose a picture first, or give its id", "请先选择一张图片，或填写它的 ID"),
    "no_words": (
        "this index cannot be searched with words: its embedder {!r} understands pictures only",
        "此索引不支持文字搜索：特征提取模型 {!r} 只能处理图片",
    ),
    "no_count": (
        "{} results cannot be shown; ask for a whole number, 1 to {}",
        "无法显示 {} 个结果，请输入 1 到 {} 的整数",
    ),
    "no_score": (
        "{} is no score; give a number, or leave the minimum score empty",
        "{} 不是分数，请输入数字，或将最低分数留空",
    ),
    "no_box": (
        "the box {} is not four numbers; write left, top, right and bottom in %: 10, 20, 90, 80",
        "框 {} 不是四个数字，请按百分比填写左、上、右、下：10, 20, 90, 80",
    ),
    "empty_box": (
        "the box {} holds nothing; left must be less than right, top than bottom, all from 0 to 100",
        "框 {} 里面没有内容：左必须小于右，上必须小于下，并且都在 0 到 100 之间",
    ),
    "too_heavy": (
        "the file has {:.1f} MB; at most {:.1f} MB are taken",
        "文件大小为 {:.1f} MB，最多接受 {:.1f} MB",
    ),
    "no_image": ("{}", "不是可识别的图片（{}）"),
    "no_bytes": ("{}", "文件是空的（{}）"),
    "damaged": ("{}", "文件已损坏或不完整，无法解码（{}）"),
    "unsupported": ("{}", "不支持这种图片，请转换为 PNG 或 JPEG（{}）"),
    "too_many_pixels": ("{0}", "像素太多，最多 {1:.4g} 百万像素（{0}）"),
    "no_field": (
        "line {}, {}, is no field; write name = value, such as kind = fish",
        "第 {} 行 {} 不是字段，请写成 名称 = 值，例如 kind = fish",
    ),
    "bad_field": ("{}", "字段无法保存（{}）"),
    "read_only": (
        "this page is read-only; pictures cannot be added",
        "此页面为只读，不能添加图片",
    ),
    "text_too_long": (
        "a text has {:,} characters; at most {:,} are read",
        "文本有 {:,} 个字符，最多接受 {:,} 个",
    ),
    "no_language": (
        "unsupported language {}; choose {}",
        "不支持语言 {}，可选：{}",
    ),
    "gate_host": (
        "this page is not served under that host name",
        "此页面不使用该主机名",
    ),
    "gate_origin": (
        "another web site sent this request, so it is refused",
        "请求来自其他网站，已被拒绝",
    ),
    "gate_login": ("not logged in", "请先登录"),
    "gate_too_large": (
        "the request is too large; at most {:.1f} MB are taken",
        "请求过大，最多接受 {:.1f} MB",
    ),
    "gate_unicode": (
        "a text in the request is not valid Unicode (a lone surrogate)",
        "请求中的文本不是有效的 Unicode（包含孤立的代理字符）",
    ),
    "login": ("Please log in to search this index.", "请登录后搜索。"),
}


def phrase(key: str, language: str) -> str:
    """Return a phrase; any language but Chinese gives English.

    Example:
        >>> phrase("search", "zh"), phrase("search", "en")
        ('搜索', 'Search')
    """
    english, chinese = PHRASES[key]
    return chinese if language == "zh" else english


def counted(key: str, number: int, language: str) -> str:
    """Return a phrase about so many things, which English has in singular and plural.

    Example:
        >>> counted("facts_sample", 1, "en"), counted("facts_sample", 2, "en")
        ('from the first picture', 'from the first {} pictures')
    """
    return phrase(f"{key}_one" if number == 1 else key, language)


def language_of(accepted: str) -> str:
    """Return the language that a browser's ``Accept-Language`` header likes best.

    Example:
        >>> language_of("zh-CN,zh;q=0.9,en;q=0.8"), language_of("fr, en;q=0.5"), language_of("")
        ('zh', 'en', 'en')
    """
    best, weight = LANGUAGES[0], 0.0
    for part in accepted.split(","):
        tag, _, quality = part.strip().partition(";q=")
        language = tag.strip().lower().partition("-")[0]
        try:
            value = float(quality) if quality else 1.0
        except ValueError:
            continue
        if language in LANGUAGES and value > weight:
            best, weight = language, value
    return best


class Spoken(str):
    """A message in English, as errors hold it, that knows itself in the other languages too.

    Args:
        key: Of the phrase.
        *values: What fills its gaps.

    Example:
        >>> message = Spoken("no_such_id", "sku-1")
        >>> str(message), in_language(message, "zh")
        ("id 'sku-1' is not in the index", "索引中没有 ID 为 'sku-1' 的图片")
    """

    __slots__ = ("key", "values")

    key: str
    values: tuple[Any, ...]

    def __new__(cls, key: str, *values: Any) -> Self:
        """Say it in English."""
        self = super().__new__(cls, phrase(key, "en").format(*values))
        self.key, self.values = key, values
        return self


def in_language(message: object, language: str) -> str:
    """Return a message in a language, or as it is where it is known in English only.

    Args:
        message: A text, or an error that holds one.
        language: ``"en"`` or ``"zh"``.
    """
    said = message.args[0] if isinstance(message, Exception) and message.args else message
    if isinstance(said, Spoken):
        return phrase(said.key, language).format(*said.values)
    return str(message)
