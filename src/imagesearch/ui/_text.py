"""The texts of the page in English and Chinese, and errors with a text in both."""

from __future__ import annotations

from imagesearch.errors import ImageSearchError

__all__ = [
    "LANGUAGES",
    "PHRASES",
    "Message",
    "PageError",
    "UploadError",
    "language_of",
    "phrase",
    "phrase_for",
]


LANGUAGES = ("en", "zh")

PHRASES: dict[str, tuple[str, str]] = {
    "title": ("Image search", "以图搜图"),
    "subtitle": (
        "Drop in an image to find similar ones.",
        "拖入一张图片，查找与它相似的图片。",
    ),
    "tab_search": ("Search", "搜索"),
    "tab_add": ("Add pictures", "添加图片"),
    "tab_info": ("About this index", "索引信息"),
    # The query.
    "picture": ("Picture", "图片"),
    "picture_hint": (
        "# Drop a picture here\nor paste one, or click to choose a file",
        "# 将图片拖到此处\n也可以粘贴图片，或点击选择文件",
    ),
    "crop_on": (
        "Search by part of the picture: draw a box on it",
        "用图片的局部搜索：在图片上拖出选框",
    ),
    "crop": ("Box, in % of the picture", "选框位置（占图片的百分比）"),
    "crop_info": ("left, top, right, bottom", "左、上、右、下"),
    "text": ("Text", "文字"),
    "text_info": ("on its own, or combined with a picture", "可单独使用，也可与图片组合使用"),
    "id": ("ID of an indexed picture", "索引中图片的 ID"),
    "id_info": (
        "or click a picture on the page, then “More like this”",
        "也可以点击页面上的图片，再点“查找相似图片”",
    ),
    "search": ("Search", "搜索"),
    "clear": ("Clear", "清空"),
    # Options and the filter.
    "options": ("Filters and options", "筛选与选项"),
    "k": ("Results", "结果数量"),
    "min_score": ("Min. score", "最低分数"),
    "min_score_info": ("none", "不限"),
    "filters_none": (
        (
            "This index has no fields with values to choose from. “About this index” lists its fields, "
            "which you can use in a filter expression."
        ),
        "此索引的字段没有可供选择的取值。全部字段见“索引信息”，可写入下面的筛选表达式。",
    ),
    "from": ("{} from", "{} 最小值"),
    "to": ("{} to", "{} 最大值"),
    "choices": ("Your choices as a filter expression", "以上选择对应的筛选表达式"),
    "where": ("Filter expression", "筛选表达式"),
    "where_info": ("Combined (AND) with the choices above", "须与上面的选择同时满足"),
    # Results.
    "gallery": ("Pictures", "图片"),
    "status_browse": (
        "{} of {} pictures in this index. Click one for details.",
        "索引共有 {1} 张图片，显示其中 {0} 张。点击图片查看详情。",
    ),
    "status_browse_one": (
        "{} of {} picture in this index. Click it for details.",
        "索引共有 {1} 张图片，显示其中 {0} 张。点击图片查看详情。",
    ),
    "status_browse_filter": (
        "{} pictures that match the filter; not ranked, because there is no query",
        "{} 张图片符合筛选条件；没有查询内容，因此未排序",
    ),
    "status_browse_filter_one": (
        "{} picture that matches the filter; no score, because there is no query",
        "{} 张图片符合筛选条件；没有查询内容，因此没有分数",
    ),
    "status_hits": ("{} pictures like {}, best first", "与{1}相似的 {0} 张图片，最相似的在前"),
    "status_hits_one": ("{} picture like {}", "与{1}相似的 {0} 张图片"),
    "status_none": (
        "Nothing found. Lower the minimum score or widen the filter.",
        "没有找到图片。请降低最低分数或放宽筛选条件。",
    ),
    "status_empty": (
        "This index is empty. Add pictures to see them here.",
        "索引为空。添加图片后会显示在这里。",
    ),
    "your_picture": ("your picture", "您的图片"),
    "your_crop": ("part of your picture", "您的图片的局部"),
    "score": ("score", "分数"),
    "source": ("source", "来源"),
    "more": ("More like this", "查找相似图片"),
    # Adding.
    "add_files": ("Drop pictures here, or click to choose files", "将图片拖到此处，或点击选择文件"),
    "add_fields": ("Fields for these pictures", "这些图片的字段"),
    "add_fields_info": ("one per line: name = value", "每行一个：名称 = 值"),
    "add_button": ("Add to the index", "添加到索引"),
    "added": ("added", "已添加"),
    "updated": ("updated", "已更新"),
    "unchanged": ("already in the index", "已在索引中"),
    "failed": ("failed", "失败"),
    # About the index.
    "info_images": ("pictures", "图片数量"),
    "info_embedder": ("embedder", "特征提取模型"),
    "info_dim": ("vector dimensions", "向量维度"),
    "info_projection": ("projection", "降维"),
    "info_projected": (
        "from {} dimensions, fitted on {:,} pictures",
        "由 {} 维降维，基于 {:,} 张图片拟合",
    ),
    "info_metric": ("metric", "相似度度量"),
    "info_text": ("text search", "文字搜索"),
    "info_store": ("store", "存储"),
    "info_fields": ("Fields", "字段"),
    "info_fields_none": ("The pictures have no fields.", "图片没有任何字段。"),
    "info_sample": ("in the first {} pictures", "根据前 {} 张图片统计"),
    "info_sample_one": ("in the first picture", "根据第一张图片统计"),
    "yes": ("yes", "支持"),
    "no": ("no", "不支持"),
    "kind_text": ("text", "文本"),
    "kind_number": ("number", "数字"),
    "kind_truth": ("true or false", "是或否"),
    "kind_list": ("list", "列表"),
    "kind_mixed": ("mixed", "混合"),
    "true": ("true", "是"),
    "false": ("false", "否"),
    # Errors of visitors.
    "error_title": ("Error", "出错了"),
    "bad_picture": ("This picture cannot be used: {}", "无法使用这张图片：{}"),
    "no_image": ("{}", "不是可识别的图片（{}）"),
    "empty_file": ("{}", "文件是空的（{}）"),
    "damaged": ("{}", "文件已损坏或不完整，无法解码（{}）"),
    "unsupported_image": ("{}", "不支持这种图片，请转换为 PNG 或 JPEG（{}）"),
    "no_decoder": ("{}", "服务器无法读取这种格式（{}）"),
    "too_many_pixels": ("{0}", "像素过多，最多 {1:.4g} 百万像素（{0}）"),
    "too_large": (
        "the file is too large: {:.1f} MB, at most {:.1f} MB are allowed",
        "文件过大：{:.1f} MB，最多 {:.1f} MB",
    ),
    "upload_gone": (
        "The uploaded file is no longer available. Upload it again.",
        "上传的文件已失效，请重新上传。",
    ),
    "no_urls": (
        "URLs are not fetched. Upload the picture itself.",
        "不会从网址获取图片，请直接上传图片。",
    ),
    "bad_filter": ("{}", '筛选条件无效，请检查写法，例如 kind = "fish"（{}）'),
    "unsupported_filter": ("Unsupported filter: {}", "此索引的存储不支持这个筛选条件（{}）"),
    "bad_query": ("{}", "无法查询（{}）"),
    "unknown_id": ("id {!r} is not in the index", "索引中没有 ID 为 {!r} 的图片"),
    "deleted_id": (
        "id {!r} is no longer in the index; search again",
        "ID 为 {!r} 的图片已不在索引中，请重新搜索",
    ),
    "missing_id": ("choose a picture first, or enter its id", "请先选择一张图片，或填写它的 ID"),
    "no_text_search": (
        "this index does not support text search: its embedder {!r} handles images only",
        "此索引不支持文字搜索：特征提取模型 {!r} 只能处理图片",
    ),
    "bad_count": (
        "the number of results must be a whole number from 1 to {1}, got {0}",
        "结果数量必须是 1 到 {1} 的整数，当前值为 {0}",
    ),
    "bad_score": (
        "the minimum score must be a number or empty, got {}",
        "最低分数必须是数字或留空，当前值为 {}",
    ),
    "bad_limit": (
        "the limits of a field must be numbers or empty, got {}",
        "字段的最小值和最大值必须是数字或留空，当前值为 {}",
    ),
    "bad_box": (
        (
            "the box must be four numbers, left, top, right and bottom in %, such as 10, 20, 90, 80; "
            "got {}"
        ),
        "选框必须是四个数字，按百分比依次为左、上、右、下，例如 10, 20, 90, 80；当前值为 {}",
    ),
    "empty_box": (
        (
            "the box {} is empty or outside the picture: left must be less than right and top less "
            "than bottom, all from 0 to 100"
        ),
        "选框 {} 为空或超出图片：左必须小于右，上必须小于下，并且都在 0 到 100 之间",
    ),
    "text_too_long": (
        "a text has {:,} characters; at most {:,} are allowed",
        "文本有 {:,} 个字符，最多 {:,} 个",
    ),
    "bad_language": ("unsupported language {}; choose {}", "不支持语言 {}，可选：{}"),
    "read_only": (
        "this page is read-only; pictures cannot be added",
        "此页面为只读，不能添加图片",
    ),
    "nothing_to_add": ("Choose pictures first.", "请先选择图片。"),
    "bad_addition": ("{}", "无法添加（{}）"),
    "bad_line": (
        "line {} must be name = value, such as kind = fish; got {}",
        "第 {} 行必须写成 名称 = 值，例如 kind = fish；当前内容为 {}",
    ),
    "bad_field": ("{}", "字段无法保存（{}）"),
    # Errors of the server.
    "locked": (
        "Another process is writing to the index. Try again later.",
        "另一个进程正在写入索引，请稍后再试。",
    ),
    "server_failed": (
        "The server could not do this ({}). Its log has the details.",
        "服务器出错（{}）。详情请查看服务器日志。",
    ),
    # Requests that do not reach the page.
    "refused_host": (
        "this page is not available under this host name",
        "不能通过这个主机名访问此页面",
    ),
    "refused_origin": (
        "the request was sent by another web site and is refused",
        "请求来自其他网站，已被拒绝",
    ),
    "refused_login": ("log in first", "请先登录"),
    "refused_size": (
        "the request is too large; at most {:.1f} MB are allowed",
        "请求过大，最多 {:.1f} MB",
    ),
    "refused_unicode": (
        "the request contains text that is not valid Unicode (a lone surrogate)",
        "请求中的文本不是有效的 Unicode（包含孤立的代理字符）",
    ),
    "login": ("Log in to search this index.", "登录后即可搜索。"),
}


def phrase(key: str, language: str) -> str:
    """Return a phrase; any language but Chinese gives English.

    Example:
        >>> phrase("search", "zh"), phrase("search", "en")
        ('搜索', 'Search')
    """
    english, chinese = PHRASES[key]
    return chinese if language == "zh" else english


def phrase_for(key: str, number: int, language: str) -> str:
    """Return a phrase in the singular for 1, and in the plural for other numbers.

    Example:
        >>> phrase_for("info_sample", 1, "en"), phrase_for("info_sample", 2, "en")
        ('in the first picture', 'in the first {} pictures')
    """
    return phrase(f"{key}_one" if number == 1 else key, language)


def language_of(accepted: str) -> str:
    """Return the language of the page that an ``Accept-Language`` header prefers.

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


class Message:
    """A message that exists in every language of the page.

    Args:
        key: The key of its phrase.
        *values: The values of the placeholders; those that are messages are localised too.

    Example:
        >>> message = Message("unknown_id", "sku-1")
        >>> message.text("en"), message.text("zh")
        ("id 'sku-1' is not in the index", "索引中没有 ID 为 'sku-1' 的图片")
    """

    __slots__ = ("key", "values")

    def __init__(self, key: str, *values: object) -> None:
        self.key = key
        self.values = values

    def text(self, language: str) -> str:
        """Return the message in a language."""
        values = [
            value.text(language) if isinstance(value, Message) else value for value in self.values
        ]
        return phrase(self.key, language).format(*values)


class PageError(ImageSearchError):
    """A visitor's input cannot be used.

    Attributes:
        message: The message in all languages; the error's own text is the English one.
    """

    def __init__(self, key: str, *values: object) -> None:
        self.message = Message(key, *values)
        super().__init__(self.message.text("en"))


class UploadError(PageError):
    """An uploaded file is not an image that can be used."""
