"""Turn the text of an owner into passages short enough to be an answer.

Owners bring Markdown, plain notes and lists of questions with answers, saved by any editor. A passage keeps the
headings above it: "8h às 18h" answers nothing without "Horário de funcionamento".
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from recado.agents.errors import DocumentRefused

MAX_BYTES = 2 * 1024 * 1024
MAX_LINE = 100_000
MAX_PIECES = 5_000
_TARGET = 700
_LONGEST = 1_000
_LONGEST_QUESTION = 200
_LONGEST_HEADING = 300

# The time of each of these must grow linearly with the text: a stranger may choose the text of a document.
_HEADING = re.compile(r"(#{1,6})[ \t]+")
_UNDERLINE = re.compile(r"(=|-)\1{2,}[ \t]*")
_FENCE = re.compile(r"\A[ \t]*(```|~~~)")
_ASKED = re.compile(r"(?:P|Q|Pergunta|Question|Pregunta)[ \t]*:[ \t]*(.+)", re.IGNORECASE)
_ANSWERED = re.compile(r"(?:R|A|Resposta|Answer|Respuesta)[ \t]*:[ \t]*(.*)", re.IGNORECASE)
_BULLET = re.compile(r"\A(?:[-*+•]|\d{1,3}[.)])[ \t]+")
# A label contains no bracket, and an address may contain one pair, as those of Wikipedia do.
_LINK = re.compile(r"!?\[([^\[\]\n]{1,300}+)\]\(((?:[^\s()]|\([^\s()]{0,100}+\)){1,1000}+)\)")
_BOLD = re.compile(r"\*\*(?=\S)((?:[^*\n]|\*(?!\*)){1,500}+)(?<=\S)\*\*|__(?=\S)((?:[^_\n]|_(?!_)){1,500}+)(?<=\S)__")
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|\n")
_RULE_SIGNS = frozenset(" \t:|-")
_VISIBLE = re.compile(r"\S")
_NOT_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class DocumentSection:
    """A passage: its headings and its text."""

    heading: str
    body: str


# --- Reading ----------------------------------------------------------------------------------------------------------


def readable(name: str, content: str | bytes) -> str:
    """Return the text of a file of any editor. Raises `DocumentRefused` when it is not text."""
    size = len(content) if isinstance(content, bytes) else len(content.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise DocumentRefused(
            f"{name!r} is larger than {MAX_BYTES // 1024 // 1024} MB; split it into smaller documents"
        )
    text = content if isinstance(content, str) else _decoded(name, content)
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n").removeprefix("\ufeff")
    if _NOT_TEXT.search(text):
        raise DocumentRefused(f"{name!r} is not a text file; Markdown and plain text are understood")
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > MAX_LINE:
            raise DocumentRefused(
                f"line {number} of {name!r} has {len(line):,} characters, {MAX_LINE:,} at most; make paragraphs of it"
            )
    return text


def _decoded(name: str, content: bytes) -> str:
    """Decode UTF-8, UTF-16 with its mark, or the old Windows code page that Brazilian desktops still use."""
    codecs = ("utf-16",) if content[:2] in {b"\xff\xfe", b"\xfe\xff"} else ("utf-8", "cp1252")
    for codec in codecs:
        try:
            return content.decode(codec)
        except UnicodeDecodeError:
            continue
    raise DocumentRefused(f"{name!r} is not a text file; Markdown and plain text are understood")


# --- Splitting --------------------------------------------------------------------------------------------------------


def split_document(name: str, text: str) -> list[DocumentSection]:
    """Return the passages of a text, in order. Raises `DocumentRefused` when there are none, or too many."""
    splitter = _Splitter()
    for line in _without_comments(text).split("\n"):
        splitter.read(line)
    splitter.end_section()
    if len(splitter.pieces) > MAX_PIECES:
        raise DocumentRefused(f"{name!r} has more than {MAX_PIECES} passages; split it into smaller documents")
    if not splitter.pieces:
        raise DocumentRefused(f"{name!r} holds no text to answer from")
    return splitter.pieces


def _without_comments(text: str) -> str:
    kept, at = [], 0
    while (start := text.find("<!--", at)) >= 0 and (end := text.find("-->", start + 4)) >= 0:
        kept.append(text[at:start])
        at = end + 3
    return "".join([*kept, text[at:]])


@dataclass(slots=True)
class _Splitter:
    """Reads line by line and remembers the headings."""

    pieces: list[DocumentSection] = field(default_factory=list)
    _headings: list[tuple[int, str]] = field(default_factory=list)
    _question: str = ""
    _paragraphs: list[str] = field(default_factory=list)
    _lines: list[str] = field(default_factory=list)
    _fenced: bool = False

    def read(self, line: str) -> None:
        if _FENCE.match(line):
            self._fenced = not self._fenced
        elif self._fenced:
            self._lines.append(line.rstrip())
        elif not line.strip():
            self._end_paragraph()
        else:
            self._read_words(line.rstrip())

    def end_section(self) -> None:
        """Turn the collected lines into passages under the present heading."""
        self._end_paragraph()
        titles = [title for _, title in self._headings] + [self._question] * bool(self._question)
        heading = " › ".join(titles)[-_LONGEST_HEADING:]
        # Under a heading paragraphs belong together; without one each is a passage.
        self.pieces.extend(DocumentSection(heading, body) for body in _packed(self._paragraphs, together=bool(titles)))
        self._paragraphs = []

    def _read_words(self, line: str) -> None:
        if heading := _HEADING.match(line):
            self._open(len(heading[1]), _plain(line[heading.end() :].rstrip(" \t#")))
        elif _UNDERLINE.fullmatch(line):
            if len(self._lines) == 1:
                self._open(1 if line[0] == "=" else 2, self._lines.pop())
        elif question := self._asked(line):
            self.end_section()
            self._question = question
        elif self._question and not self._paragraphs and (answer := _ANSWERED.fullmatch(_bare(line))):
            self._lines.append(_plain(answer[1]))
        elif not _is_table_rule(line):
            self._lines.append(_plain(line))

    def _asked(self, line: str) -> str:
        """Return the question of a line that contains nothing else. The lines after it are its answer."""
        bare = _bare(line)
        if marked := _ASKED.fullmatch(bare):
            return _plain(marked[1])[:_LONGEST_QUESTION]
        alone = bare.endswith("?") and len(bare) <= _LONGEST_QUESTION and not self._lines
        return bare if alone else ""

    def _open(self, level: int, title: str) -> None:
        self.end_section()
        self._question = ""
        self._headings = [(above, name) for above, name in self._headings if above < level]
        if title:
            self._headings.append((level, title[:_LONGEST_HEADING]))

    def _end_paragraph(self) -> None:
        paragraph = "\n".join(line for line in self._lines if line.strip()).strip()
        self._lines = []
        if paragraph.isupper() and len(paragraph) <= 80 and "\n" not in paragraph:
            self._open(6, paragraph)  # Plain notes write their headings in capitals.
        elif paragraph:
            self._paragraphs.append(paragraph)


def _is_table_rule(line: str) -> bool:
    return "---" in line and _RULE_SIGNS.issuperset(line)


def _bare(line: str) -> str:
    """Return a line without bullet, number and emphasis."""
    return _BULLET.sub("", line.strip(), count=1).replace("**", "").replace("__", "").strip("*_ \t")


def _plain(line: str) -> str:
    """Return Markdown for a phone: links keep their address, bold becomes WhatsApp's."""
    line = _LINK.sub(lambda link: link[1] if link[1] == link[2] else f"{link[1]} ({link[2]})", line)
    return _BOLD.sub(lambda bold: f"*{bold[1] or bold[2]}*", line).rstrip()


def _packed(paragraphs: list[str], *, together: bool) -> Iterator[str]:
    """Join paragraphs up to a good length, and cut longer ones at the ends of sentences."""
    packed = ""
    for part in (part for paragraph in paragraphs for part in _cut(paragraph)):
        if packed and (not together or len(packed) + len(part) > _TARGET):
            yield packed
            packed = ""
        packed = f"{packed}\n\n{part}" if packed else part
    if packed:
        yield packed


def _cut(paragraph: str) -> Iterator[str]:
    at = 0
    while len(paragraph) - at > _LONGEST:
        ends = [end.start() for end in _SENTENCE_END.finditer(paragraph, at, at + _LONGEST)]
        end = ends[-1] if ends and ends[-1] > at else at + _LONGEST
        yield paragraph[at:end].strip()
        visible = _VISIBLE.search(paragraph, end)
        at = len(paragraph) if visible is None else visible.start()
    if rest := paragraph[at:].strip():
        yield rest
