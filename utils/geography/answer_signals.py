"""What the words around a place say of it: that it is the answer, is not, is taken back, or is one of several.

Patterns over an answer as ``answer_text.plain`` leaves it.
"""

import re


def _words(*alternatives: str) -> str:
    return rf"\b(?:{'|'.join(alternatives)})\b"


def _pattern(*alternatives: str) -> re.Pattern[str]:
    return re.compile("|".join(alternatives), re.IGNORECASE)


# At the beginning of a line or a sentence: what introduces the answer, and what the reasons for it.
_FINAL = (
    r"final(?:e|es)?(?: \w{1,20}){0,3}|(?:in )?conclusion|verdict|endgültige \w{1,20}|(?:respuesta|resposta) final|"
    "réponse finale|risposta finale|итоговый ответ|最终答案|最終的?な?(?:答え|回答)"
)
_ANSWER = (
    "(?:(?:my|the|best|overall) ){0,3}answer|antwort|réponse|respuesta|resposta|risposta|ответ|antwoord|cevap|"
    "odpowiedź|答案|回答|答え"
)
_REASONS = (
    "reason(?:s|ing)?|explanations?|justification|why|notes?|analysis|evidence|rationale|clues|begründung|explication|"
    "explicación|explicação|spiegazione"
)
HEADING = re.compile(
    r"(?:^|\n|(?<=[.!?;)\]\ue000])|[-,]|\b(?:but|so|and|therefore|thus)\b)[^\S\n]?[(\[#>]{0,4}[^\S\n]?"
    rf"(?:(?P<final>{_FINAL})|(?P<answer>{_ANSWER})|(?P<reasons>{_REASONS}))"
    r"(?:[^\S\n]?:|[^\S\n]?\n|[^\S\n]?\b(?:is|would be|are|ist|est|es|é|è)\b)",
    re.IGNORECASE,
)

# What excludes the place that stands directly behind it, with its name.
_NOT = (
    r"(?:\b(?:not|never|neither|nor|no|isn't|wasn't|aren't|can't|cannot|couldn't|doesn't|don't|won't|rather than|"
    "instead of|unlike|except|excluding|ruled? out|ruling out|exclude|rejected?|far from|different from|"
    "opposed to|nicht|kein|keines(?:falls|wegs)|niemals|statt|weder|noch|pas|plutôt que|au lieu de|"
    "non|não|nem|nie|niet|inte|ikke|не|нет|вместо|değil)"
    r"|n't)\b"
)
_SMALL = (
    "(?:in|at|from|on|near|the|a|an|be|is|es|est|ist|é|è|là|to|it|located|around|coordinates?|latitude|lat|à|en|em|de|"
    "la|el|le|les|los|las|o|il|der|die|das|den|dem|bei|в|на|это)"
)
_NAME = r"(?-i:[A-ZÀ-ÞА-Я])[\w'-]{0,40},?[ ]?(?:(?:of|the|de|la|le|del|di|da|do|von)[ ]){0,3}"
_NAMED = rf"(?:{_NAME}){{0,6}}[ (\[:,]{{0,4}}(?:(?:lat|latitude|coordinates)[ :]{{0,3}})?$"
_EXCLUDED = (
    r"\b(?:un|im|in)(?:likely|probable|possible|correct)|\b(?:wrong|rejected|excluded|discarded|false|"
    r"hardly|nowhere near|"
    "forget|strike|dismiss|ignore|confused? (?:\\w{1,10} )?with|mistaken for|twinned with|sister city of|replica of|"
    "any(?:where|thing) but|every(?:where|thing) but|unwahrscheinlich|falsch|ausgeschlossen|вряд ли|маловероятно)"
)
NEGATED = _pattern(
    rf"{_NOT}(?=[ (])(?:[ ]{_SMALL}(?=[ (])){{0,4}}[ (\[:]{{0,4}}{_NAMED}",
    rf"(?:{_EXCLUDED})\b(?:[ ](?:answer|guess|place|location|candidate|option))?(?:[ ]{_SMALL}(?=[ (])){{0,4}}"
    rf"[ (\[:]{{0,4}}{_NAMED}",
    r"(?:不是|并非|而非|不在|非|不太?可能|不像|排除)[^\W\d]{0,12}[ (]{0,3}$",
)
EXAMPLE = _pattern(r"\b(?:e\.g|example|sample|format|template)\b[^\w]{0,6}$")
# A distance from a place is no place.
AWAY = _pattern(
    r"(?<!within )(?<!within about )\b\d[\d.,]{0,9}[ ]?(?:km|kilomet\w{1,6}|mi|miles?)\b[^.;\n]{0,30}"
    r"\b(?:of|from|to)[ ][^.;\n\d]{0,50}$"
)

# What takes back the place before it, wherever it follows; what does only just behind it.
RETRACTED = _pattern(
    _words(
        "no,? wait|hold on|hmm|scratch that|correction|correcting|i (?:was|am) (?:wrong|mistaken)|my mistake|oops",
        "sorry",
        "(?:that|this|it|which|they|those|these)(?: (?:is|was|are|were|seems?|looks?|can|must))?(?: be)?"
        "(?: (?:clearly|probably|definitely|likely))? (?:wrong|incorrect|false|impossible)",
        "(?:that|this|it|which) (?:is|was|looks) not (?:right|correct|possible|it)",
        "(?:that|it|this)'s (?:wrong|incorrect|not right|not it)|(?:on )?second thoughts?",
        "let me (?:correct|revise|reconsider|re-?think|fix|re-?check|try again)|i take (?:that|it) back|i mean|i meant",
        "(?:ignore|forget|disregard|discard) (?:that|this|the above|it)|should (?:be|read|have been)|ruled out",
        "(?:i )?retract|i (?:now )?(?:correct|revise)|korrektur|moment mal|nein|pardon|je me trompe|erreur|perdón",
        "corrección|me equivoqué|correção|desculpe|correzione|scusa|поправка|извините",
    ),
    r"\bwait[,.:!-]|不对|更正|等等|抱歉|訂正|いや|待って",
)
_BUT_SURE = "(?! (?:sure|certain|confiden|100|far|doubt|other|exact|precis|complete|entire|guarantee))"
DENIED = _pattern(
    r"[\s)\]}.,;:!?°\"'|</#=-]{0,8}(?:"
    + "|".join(
        (
            _words("no", "nope", "non", "not", "nein", "nicht", "nej", "nie", "não", "нет") + _BUT_SURE,
            r"\b(?:is|was|are|seems?|looks?|would be|can be) (?:\w{1,12} )?"
            r"(?:wrong|incorrect|false|impossible|excluded|too \w{1,12}|unlikely|out|not)\b",
            r"(?:ist|wäre|est|es|é|è) (?:\w{1,12} )?(?:nicht|falsch|ausgeschlossen|exclue?|fausse?|descartad[ao]|"
            r"esclus[ao])\b",
            _words("rejected", "wrong", "incorrect", "excluded", "discarded", "dismissed", "ruled out"),
            _words("isn't", "wasn't", "can't", "cannot", "doesn't", "değil"),
            "ではな|じゃな|が?不[对是]",
        )
    )
    + ")"
)
# Of the place behind it.
FIRST_THOUGHT = _pattern(
    _words(
        "(?:first|initially|originally|at first|earlier|previously|once)(?: \\w{1,20})? "
        "(?:thought|guessed|assumed|considered|believed|said)",
        "(?:thought|guessed|assumed|considered|believed|suspected|said)(?: \\w{1,20}){0,6} "
        "(?:first|initially|originally|at first)",
        "(?:first|initial|original|earlier|previous|wrong|old) "
        "(?:thought|idea|impression|instinct|assumption|hypothesis|answer)",
        "(?:i|we) thought (?:of|about|that|it|this)|je pensais|pensé|pensaba|ich dachte|pensei|pensavo|думал|"
        "d'abord|au début|al principio|zuerst|anfangs|a princípio|"
        "inizialmente|сначала",
    )
)

# Between several places: that the first of them may not be the one.
CORRECTED = _pattern(
    _words(
        "not|no|nor|neither|never|nope|actually|however|instead|but|rather|yet|although|though|while|whereas|unlike",
        "except|final\\w{0,3}|corrected|revised|revision|updated?|edit|improved|unlikely|better",
        "less (?:likely|probable|plausible)|latter|second (?:one|is|seems|looks|fits)|rejected|excluded|"
        "wrong|incorrect|false|nicht|sondern|aber|jedoch",
        "doch|pas|mais|cependant|plutôt|pero|sino|mas|porém|ma|però|invece|bensì|но|однако|niet|maar|inte|utan|ale|ama",
        "fakat",
    ),
    "n't\\b|而是|但|不过|ではな|しかし|なく",
)
# Behind the first of several places: that one of them is picked.
CHOSEN = _pattern(
    _words(
        "(?:i|we)(?:'d|'ll|'m)?(?: would| will| am| have)?(?: \\w{1,20})? (?:choose|chose|pick|select|prefer|favou?r|"
        "go(?:ing)? (?:with|for)|settle|lean\\w{0,3}|decide|conclude|opt|bet|think|believe|guess|say)",
        "(?:most|more) (?:likely|probabl[ey]|plausible)|best|fits|matches|wins?|winner|correct|right|therefore|thus",
        "hence|so (?:it|the|this|i)|overall|answer|conclu\\w{1,7}|chosen|choice|true|actual|real",
        "(?:option|candidate|number|no\\.?) [b-z2-9]|the (?:second|third|last|other)",
    ),
    r"\n\W{0,6}[b-h2-9]\W{0,3}$",
)
# Between the place of the answer and one in what is said about it: that the latter is the better one.
INSTEAD = _pattern(
    _words("actually|instead|rather|revised|revision|corrected|correct|right|true|updated?|edit|final\\w{0,3}|better")
)
# Between the first place and the next: that this is one of others; that the first is not one of the best.
ALTERNATIVE = _pattern(
    _words(
        "other|others|another|alternative(?:s|ly)?|or|also|second(?:ly)?|2nd|next|runner-?up|possibly|perhaps|maybe",
        "could|might|less (?:likely|probable|plausible)|backup|fallback|oder|andere|alternativ\\w{0,3}|ou|autres?",
        "otr[ao]s?|o|outr[ao]s?|oppure|altr[aeio]|или|другие|of|eller",
    ),
    "或|其他|または|その他",
)
LESS = _pattern(
    _words("less (?:likely|probable|plausible)|unlikely|improbable|no|not|wrong|rejected|excluded"), "n't\\b"
)

ITEM = re.compile(r"\s*(?:(?P<bullet>[-•·])|\(?(?P<number>\d{1,2}|[a-h])[.):])\s", re.IGNORECASE)
SHARE = re.compile(
    r"\b(\d{1,3}(?:\.\d{1,9})?)\s?%|\b(?:confidence|probability|score|likelihood)[\s:=]{1,3}(0?\.\d{1,9})",
    re.IGNORECASE,
)
