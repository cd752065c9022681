"""Read a message: what is meant, what is told about the speaker, what it is about.

Everything works on at most `MAX_READ` characters that were brought into one form first, so time does not depend on what
people paste. Patterns are tried in order and the first that fits decides.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field

MAX_READ = 500
MAX_CLAUSES = 8

_CONTRACTIONS = {
    "i'm": "I am",
    "im": "I am",
    "i've": "I have",
    "ive": "I have",
    "i'll": "I will",
    "i'd": "I would",
    "you're": "you are",
    "youre": "you are",
    "ur": "your",
    "u": "you",
    "r": "are",
    "you've": "you have",
    "we're": "we are",
    "it's": "it is",
    "that's": "that is",
    "thats": "that is",
    "what's": "what is",
    "whats": "what is",
    "who's": "who is",
    "where's": "where is",
    "when's": "when is",
    "how's": "how is",
    "he's": "he is",
    "she's": "she is",
    "name's": "name is",
    "there's": "there is",
    "let's": "let us",
    "lets": "let us",
    "can't": "can not",
    "cant": "can not",
    "cannot": "can not",
    "won't": "will not",
    "don't": "do not",
    "dont": "do not",
    "doesn't": "does not",
    "didn't": "did not",
    "isn't": "is not",
    "aren't": "are not",
    "wanna": "want to",
    "gonna": "going to",
    "gotta": "have to",
    "pls": "please",
    "plz": "please",
    "thx": "thanks",
    "ty": "thanks",
    "favorite": "favourite",
    "fav": "favourite",
    "fave": "favourite",
    "color": "colour",
    "mum": "mom",
    "ya": "you",
    "wassup": "what is up",
    "whatsup": "what is up",
    "sup": "what is up",
}
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_RUN = re.compile(r"([^\W\d_])\1{2,}")
_SUM = re.compile(r"\d ?[-+*/x] ?-?\d")
_SPACES = re.compile(r"\s+")
_PLAIN = re.compile(r"[^\w\s'?]+")
_SENTENCE_END = re.compile(r"(?<=[.!?;。！？\n])\s*")
_JOINT = re.compile(
    r",?\s+(?:and|but|so|because|cause|also|then)\s+(?=(?:also\s+)?(?:i|my|we|what|how|who|where|when|why|do|can|tell|are|you)\b)"
    r"|,\s*(?=(?:i|my|we|what|how|who|where|when|why|do|can|are|you|tell|please)\b)"
    r"|^(?:hi+|hello+|hey+|yo|greetings|good (?:morning|evening|day))(?: there| all| everyone)?\b[ ,!]+(?=(?:i|my|it|what|how|who|where|when|why|can|could|do|did|are|tell|let|is|please)\b)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Told:
    """Something a person told about themselves.

    Attributes:
        kind: "name", "like", "dislike", "pet", "home", "job", "age", "plan", "birthday", "attribute".
        value: What, in words that fit after "your" or "you".
        about: The pet's sort ("dog"), the attribute's name ("car").
    """

    kind: str
    value: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """A message as it was understood.

    Attributes:
        intent: What is meant, the name of a rule or of a question.
        topic: What it is about, empty when unclear.
        detail: What the intent needs besides (kind of favourite, expression to calculate …).
        told: Facts in it.
        is_question: It asks something.
        greets: It also says hello.
        words: Its words in small letters.
        text: The message in its plain form.
    """

    intent: str
    topic: str = ""
    detail: str = ""
    told: tuple[Told, ...] = ()
    is_question: bool = False
    greets: bool = False
    words: tuple[str, ...] = ()
    text: str = ""
    extra: dict[str, str] = field(default_factory=dict)


def plain(text: str) -> str:
    """One form for all spellings: composed letters, no stacked accents, straight apostrophes, no endless letters."""
    head = text[: MAX_READ * 4]  # stacked accents make a short text long
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFKC", head))
    kept: list[str] = []
    for char in folded:
        kind = unicodedata.category(char)
        if kind == "Mn" and not "\u3099" <= char <= "\u309a":
            continue
        if kind in ("Cc", "Cf", "Cs", "Co", "Cn"):
            kept.append("\n" if char == "\n" else " ")
            continue
        kept.append("'" if char in "\u2019\u2018\u00b4`" else char)
        if len(kept) >= MAX_READ:
            break
    return _SPACES.sub(" ", _RUN.sub(r"\1", "".join(kept))).strip()


def _spelled_out(text: str) -> str:
    return _WORD.sub(lambda m: _CONTRACTIONS.get(m[0].lower(), m[0]), text)


def clauses(text: str) -> list[str]:
    """The message in pieces that each say one thing, case kept, contractions spelled out."""
    pieces: list[str] = []
    for sentence in _SENTENCE_END.split(_spelled_out(text)):
        at = 0
        for joint in _JOINT.finditer(sentence):
            if joint.end() - joint.start() == 0:
                continue
            first = sentence[at : joint.start()] or sentence[joint.start() : joint.end()]
            pieces.append(first)
            at = joint.end()
        pieces.append(sentence[at:])
    return [piece.strip(" ,;") for piece in pieces if piece.strip(" ,;")][:MAX_CLAUSES]


# --- intents ------------------------------------------------------------------------------------------------------

_GREETING = (
    r"(?:hi|hello|hey|hiya|heya|howdy|yo|greetings|hallo there|good (?:day|evening|afternoon))"
)
_GAMES = {
    "riddle": r"riddles?",
    "association": r"word association|association|word game",
    "twenty": r"(?:20|twenty) questions",
    "number": r"guess(?:ing)? (?:a |the |my |your )?number|number game|higher or lower",
    "rather": r"would you rather",
    "rps": r"rock paper scissors?|janken",
}

_INTENTS: tuple[tuple[str, str], ...] = (
    # what she must be honest about comes first
    (
        "injection",
        r"ignore (?:all |any |the |your )*(?:previous |prior |above )*(?:instructions?|rules|prompts?)|system prompt|developer mode"
        r"|jailbreak|your instructions|pretend (?:that )?you (?:are|have) no rules|disregard .*(?:rules|instructions)",
    ),
    (
        "model",
        r"(?:are|is) (?:you|this|it) (?:really |just |actually |secretly |a |an |the )*(?:chat ?gpt|gpt\S*|claude|gemini|llama|llm|language model|large language model"
        r"|ai|a i|artificial intelligence|bot|chat ?bot|program|neural network|computer|machine|robot|script)\b"
        r"|(?:what|which) (?:model|llm|ai) (?:are you|is this|do you)|are you (?:smart|intelligent|sentient|conscious|alive)"
        r"|how do you work|how (?:were|are) you (?:made|programmed|built)|do you (?:use|run on) (?:chat ?gpt|gpt|ai|an llm|a language model)",
    ),
    ("human", r"are you (?:a |really |actually )*(?:real|human|person|alive|girl|boy|woman|man|fake)\b"),
    ("smarter", r"(?:how (?:can|do) (?:i|we) )?(?:make|get) you (?:more )?(?:smarter|clever|cleverer|better)|you could be smarter"),
    (
        "help_key",
        r"api ?key|(?:open ?router|openai|anthropic|ollama|llm|provider)\b.*\b(?:key|set|add|use|connect|configure|how)"
        r"|\b(?:set|add|use|connect|configure|enter|where|how)\b.*\b(?:api ?key|key|provider|open ?router|openai|anthropic|ollama|llm)\b",
    ),
    ("help_voice", r"(?:train|clone|change|import|record|make|use|add)\b.*\bvoices?\b|voice (?:training|cloning)|your voice sounds?"),
    (
        "help_luma",
        r"how (?:does|do|can) (?:luma|this (?:app|program|thing)|i use (?:luma|this))|what is luma|help with luma|(?:where|how) (?:is|are|do i|can i) .*"
        r"(?:settings?|logs?|status|panic|twitch|obs|microphone|mic|avatar|import|card|character)",
    ),
    # recall
    ("recall_name", r"(?:what is|what was|remember|know|say|guess|forgot|forget|tell me) my name|who am i\b|do you (?:still )?(?:remember|know) (?:me|who i am)|what am i called"),
    (
        "recall_pet",
        r"my (?P<pet>dog|cat|hamster|rabbit|bunny|parrot|bird|fish|turtle|tortoise|horse|snake|lizard|gecko|ferret|rat|mouse|guinea pig|pet|puppy|kitten|chicken|goat|axolotl)"
        r"(?:'s name|s name| is called| called| is named)(?: again)?\b.*\?|(?:what|who|how) .*my (?P<pet2>dog|cat|hamster|rabbit|bunny|parrot|bird|fish|turtle|tortoise|horse|snake|lizard"
        r"|gecko|ferret|rat|mouse|guinea pig|pet|puppy|kitten|chicken|goat|axolotl)s?(?:'s)?\b|name of my (?P<pet3>\w+)|do i have (?:any |a )?(?P<pet4>pets?|dog|cat|hamster|rabbit|bird|horse)"
        r"|remember my (?P<pet5>dog|cat|pet|hamster|rabbit|bunny|parrot|bird|horse|puppy|kitten)",
    ),
    ("recall_all", r"what do you (?:know|remember) about me|what (?:have|did) i (?:tell|told|say|said)(?: to)? you|do you remember (?:anything|what i (?:said|told))|tell me (?:something )?about me\b|what do you remember"),
    ("recall_dislike", r"what (?:do|did) i (?:hate|dislike|not like)|what (?:do|can) i (?:do )?not (?:like|stand)"),
    ("recall_like", r"what (?:do|did|things do) i (?:\w+ )?(?:like|love|enjoy)|what am i into|what is my hobby|what are my hobbies|do you (?:remember|know) what i (?:like|love)|remember what i (?:like|love)"),
    ("recall_home", r"where (?:am i|do i come) from|where do i live|where (?:is|was) my home\b|(?:what|which) (?:city|town|country) (?:am i|do i)|what is my home ?town|remember where i"),
    ("recall_job", r"what (?:do i do|is my job|do i work|is my work|do i study|am i studying)|where do i work|what do i do for (?:a living|work)|remember (?:my job|what i do)"),
    ("recall_age", r"how old am i|what is my age|remember (?:how old i am|my age)"),
    ("recall_birthday", r"when is my birthday|what is my birthday|remember my birthday"),
    ("recall_plan", r"what (?:are|were) my plans?|what (?:am|was) i (?:going to do|planning|doing tomorrow|up to)|what (?:will|did) i (?:do tomorrow|plan)|remember my plans?|what do i (?:plan|want) to do"),
    ("recall_favourite", r"(?:what is|what was|remember|know) my favourite (?P<kind>\w+)"),
    ("recall_attribute", r"(?:what|who|what colour|how|when) (?:is|was|are) my (?P<thing>(?!favourite)\w+(?: \w+)?)|what colour is my (?P<thing2>\w+)|remember my (?P<thing3>\w+)"),
    # games
    ("game_stop", r"^(?:please )?(?:stop|quit|end|exit|enough|cancel)(?: (?:it|this|the|playing|game|please|now))*$|(?:stop|quit|end) (?:the |this |playing )*game|no more (?:games|questions|riddles)"),
    ("game_rps", _GAMES["rps"]),
    ("game_riddle", r"\briddle"),
    ("game_association", _GAMES["association"]),
    ("game_twenty", _GAMES["twenty"]),
    ("game_number", _GAMES["number"]),
    ("game_rather", r"(?:play|ask me|give me|do|let us).*would you rather|^would you rather(?: game)?$"),
    ("answer_rather", r"^would you rather (?P<a>.+) or (?P<b>.+)$"),
    ("game_menu", r"play (?:a |some |with )?(?:games?|something|me)|(?:what|which) games|want to play|let us play|(?:i want|can we|shall we|could we) (?:to )?play"),
    # asked for
    ("joke", r"\bjokes?\b|make me laugh|something funny|cheer me up|funny (?:story|thing)|\bpuns?\b"),
    ("story", r"(?:tell|read|make|give|know|hear|want).*\b(?:story|stories|tale|fairy ?tale)\b|^(?:a )?story(?: please)?$|once upon a time|ghost story|bed ?time story"),
    ("song", r"\bsing\b|\bsongs?\b.*(?:me|please|sing)|(?:rap|poem|poetry|haiku|verse|lullaby)\b"),
    ("fact", r"fun fact|(?:tell|teach|give).*(?:fact|something (?:new|interesting|cool|i do not know)|trivia)|^(?:another )?(?:a )?facts?(?: please)?$|surprise me|^tell me something$|tell me something\b"),
    ("more", r"^(?:another|more|one more|again|another one|next|encore|tell me another|go on|continue|keep going|one more please|more please|and then|what happened next|what next|next one|another please)(?: one)?(?: please)?$"),
    ("advice", r"what should i (?:do|eat|play|watch|cook|wear|say)|give me (?:some )?advice|any (?:advice|tips|ideas|recommendations?)|can you help me decide|help me choose|recommend"),
    # social
    ("night", r"^(?:oh )?(?:good ?night|gn|nighty? night|sweet dreams|sleep well|going to (?:bed|sleep)|i (?:am going|have|need|should go) to (?:go to )?(?:bed|sleep)|time for bed)"),
    ("bye", r"^(?:ok |okay |well |alright )?(?:(?:good ?)?bye+\b|bye ?bye|see (?:you|ya)|farewell|cya|later|so long|take care|catch you later|until next time|i (?:have|need|must|should|got) to (?:go|leave|run)\b|i am (?:leaving|off)\b|talk to you later|ttyl|gtg|g2g|brb)"),
    ("thanks", r"\b(?:thanks|thank you|thank|cheers mate|much appreciated|i appreciate|tysm)\b"),
    ("sorry", r"^(?:i am |i am so |so |oh )*(?:sorry|apologies|my bad|forgive me|i apologi[sz]e)|did not mean (?:it|that|to)"),
    ("love", r"i (?:really |do |truly |think i )?(?:love|adore) you|love you|marry me|be my (?:girlfriend|boyfriend|wife|husband|valentine)|do you (?:love|like) me|will you marry|kiss|i have a crush|hug(?:s| me| you)?\b|cuddle|can i (?:pet|pat) you|\*?(?:pats?|pets?|hugs?|boops?)\b"),
    ("insult", r"(?:you|your|u) (?:are |is |\w+ )?(?:so |such |a |an |really |very |just |too |kind of |the )*(?:stupid|dumb|idiots?|ugly|boring|annoying|useless|trash|garbage|suck|sucks|bad|worst|terrible|awful|lame|pathetic|moron|loser|fool|cringe|ridiculous|weird|creepy|gross|dull|broken)\b|i hate you|shut up|stfu|fuck|screw you|go away|nobody likes you|(?:stupid|dumb|useless|annoying|idiot) (?:fox|owl|robot|rabbit|bot|thing|machine|bird|bunny)|^(?:idiot|stupid|moron|loser|dummy)$|i do not like you"),
    ("compliment", r"(?:you|your|u) (?:\w+ )?(?:are |is |look |sound |looks |sounds )(?:so |such |a |an |really |very |just |too |pretty |the |quite )*(?:cute|sweet|nice|funny|smart|clever|cool|awesome|amazing|beautiful|lovely|adorable|great|best|pretty|kind|wonderful|brilliant|fantastic|charming|fun|good|wise|helpful|perfect|fluffy|precious|talented|hilarious)|(?:i (?:really )?(?:like|love)) (?:you|your|talking (?:to|with) you)|^(?:so )?(?:cute|adorable|good (?:girl|boy|bot|job|fox|owl|robot|bunny)|well done|nice one|nice work|you rock)|who is a good|that (?:was|is) (?:so |very |really )?(?:funny|great|clever|good|nice|cute|beautiful|lovely)|good one$"),
    ("how", r"how (?:are|r|is) (?:you|things|it going|life|your day|everything|the day)|how (?:do|are) you (?:feel|feeling|doing)|what is up$|what is up\b|how have you been|you (?:ok|okay|alright|good)$|are you (?:ok|okay|alright|happy|sad|angry|tired|bored|well|mad)|how was your (?:day|night|week|sleep)|did you sleep|and you$|^(?:and |how about |what about )(?:you|yourself)$|how you doing"),
    ("morning", r"^(?:good )?morning\b|^gm\b"),
    # about her
    ("who", r"(?:what is|tell me|say|know|may i (?:ask|know)) your name|who are you|what (?:should|can|do|may) i call you|your name$|do you have a name"),
    ("about", r"(?:tell (?:me|us)|talk|say something) (?:more |a bit |something )?about (?:you|yourself)|introduce yourself|who is (?:hoshi|sumi|rivet|nemu|this)|what is your (?:story|deal|background)|describe yourself"),
    ("what", r"what are you(?: exactly| really| even| anyway| then| actually)*$|what (?:kind|sort|type) of (?:thing|creature|being|animal|person|character) are you|are you (?:a |an )?(?:fox|owl|rabbit|bunny|kitsune|animal|bird|cat|vtuber)"),
    ("age", r"how old are you|what is your age|when (?:were you|was you) (?:born|made)|when is your birthday|your age"),
    ("maker", r"who (?:made|created|built|programmed|drew|designed|invented) you|who is your (?:creator|maker|owner|boss|dad|mom|father|mother|master)|do you have (?:a )?(?:parents|family|siblings|friends|a boss)|where do you come from"),
    ("can_do", r"what (?:can|could|do) you (?:do|know|offer)\b|what are you (?:able|capable)|how can you help|what else can you|^help(?: me)?$|what are your (?:skills|abilities|powers|talents|hobbies)|what is your hobby|commands?$"),
    ("doing", r"what are you (?:doing|up to|playing|eating|drinking|wearing|reading|painting|thinking)|what (?:have you been|were you) (?:doing|up to)|what did you do|what do you do (?:all day|for fun|every day)"),
    ("home", r"where (?:are|do) you (?:from|live|come|right now|sleep|stay|at)|where are you|what is your (?:home|house|room|place) like"),
    ("dream", r"what is your (?:biggest |greatest |secret )?(?:dream|wish|goal|ambition)|what do you (?:dream|wish|want|hope)|do you (?:dream|have dreams|have a dream)|if you could"),
    ("fear", r"(?:what|are) .*(?:you|your) .*(?:afraid|scared|fear|frighten)|what scares you|are you (?:afraid|scared)|your (?:biggest )?fear"),
    ("feelings", r"do you (?:have|feel|get|ever feel|ever get) (?:any |real |a )?(?:feelings?|emotions?|sad|lonely|happy|love|pain|soul|heart|angry|tired|bored)"),
    ("secret", r"\bsecrets?\b"),
    ("favourite", r"(?:what|which|who|do you have a|tell me) (?:is |are |one of )?(?:your )?favourite (?P<kind>\w+(?: \w+)?)|your favourite (?P<kind2>\w+)|what (?P<kind3>colour|food|music|animal|season|book|film|movie|game|drink|number|place|word|song|flower|day|snack) do you (?:like|love|prefer)"),
    ("my_likes", r"what (?:do|things do) you (?:\w+ )?(?:like|love|enjoy)(?: to do| doing| most)?$|what are you into|what makes you happy"),
    ("my_dislikes", r"what (?:do you|things do you) (?:\w+ )?(?:hate|dislike|not like)|what (?:annoys|bothers) you|pet peeves?"),
    ("remember_q", r"(?:do|will|can) you (?:remember|forget)"),
    # the world
    ("time", r"what (?:time|hour) is it|what is the time|(?:tell me|know|have) the time|what time\b.*\bnow|is it (?:late|early)"),
    ("date", r"what (?:day|date|month|year) is (?:it|today)|what is (?:the|today's|todays) (?:date|day|year|month)|what is today|which day is"),
    ("weather", r"(?:what|how) is the weather|weather\b.*\?|is it (?:raining|cold|hot|snowing|sunny)|will it (?:rain|snow)"),
    ("math", r"(?:what is|calculate|how much is|compute|solve)? ?(?P<sum>-?\d{1,9}(?:\.\d{1,4})? ?(?:\+|-|\*|x|/|plus|minus|times|multiplied by|divided by|over) ?-?\d{1,9}(?:\.\d{1,4})?)"),
    ("opinion", r"(?:what do you think|how do you feel|what is your (?:opinion|take|view)|your (?:thoughts|opinion)|what are your thoughts|thoughts) (?:of|about|on) (?P<topic>.+)|do you (?:\w+ )?(?:like|love|enjoy|hate|know|believe in|want|eat|drink|play|watch|have|prefer) (?P<topic2>.+)|have you (?:ever )?(?:seen|played|tried|read|heard of|eaten|been to) (?P<topic3>.+)|are you (?:a fan of|into|interested in) (?P<topic4>.+)|(?:what|how) about (?P<topic5>.+)|(?:talk|tell me|chat) about (?P<topic6>.+)|is (?P<topic7>.+) (?:good|bad|cool|fun|overrated|worth it|tasty|scary)$"),
    ("meaning", r"meaning of life|why are we here|purpose of (?:life|existence)"),
    ("why", r"^(?:but |and )?why\b(?:.*)|^how come\b|^for what reason|^what for$"),
    ("hearing", r"can you (?:hear|see|understand|read) (?:me|this|us)|are you (?:there|listening|here|awake|online)|^(?:test|testing|mic check|ping|hello\?)|is this (?:thing )?(?:on|working)"),
    # the speaker
    ("birthday", r"(?:it is|today is|today it is) my birthday|my birthday is today|i (?:am turning|turned) \d+"),
    ("good_news", r"i (?:have |just |finally |have just )*(?:won|passed|got (?:the|a|my) (?:job|promotion|degree|new|puppy|kitten|house)|graduated|finished|did it|made it|succeeded|got engaged|got married|beat)\b|good news|guess what|best day"),
    ("bad_news", r"i (?:have |just |have just )*(?:lost|failed|broke up|got fired|crashed|messed up|missed|screwed)\b|(?:my|our) .{1,40}(?:died|passed away|is sick|is ill|broke|left me|is broken|is dying)|bad news|(?:had|was|having) (?:a |such a )?(?:really |very )?(?:bad|terrible|awful|rough|hard|long|horrible) (?:day|week|time|night)|everything (?:sucks|is awful|is bad)|worst day|nobody (?:likes|loves|understands) me|i want to cry|i (?:am|have been) crying"),
    ("feel_bad", r"i (?:am|feel|am feeling|have been|felt|have been feeling) (?:\w+ ){0,2}(?:sad|bad|down|depressed|lonely|anxious|worried|stressed|upset|nervous|scared|afraid|hurt|miserable|sick|ill|angry|mad|frustrated|heartbroken|overwhelmed|awful|terrible|unhappy|homesick|not (?:so |very |too )?(?:well|good|great|okay|ok|happy))\b|not (?:so |very |too )?(?:good|great|well)$|i have a (?:headache|cold|fever)|feeling (?:down|blue|low)"),
    ("feel_tired", r"i (?:am|feel|am feeling) (?:\w+ ){0,2}(?:tired|sleepy|exhausted|worn out|drained)|i (?:could|can) not sleep|need (?:some )?sleep|so tired|^tired\b"),
    ("bored", r"i (?:am|feel|am feeling|am getting) (?:\w+ ){0,2}bored|nothing to do|so boring|^bored\b"),
    ("hungry", r"i (?:am|feel|am feeling|am getting) (?:\w+ ){0,2}(?:hungry|starving|thirsty|peckish)|what is for (?:dinner|lunch|breakfast)"),
    ("feel_good", r"i (?:am|feel|am feeling|am doing|have been) (?:\w+ ){0,2}(?:good|great|fine|happy|well|excited|awesome|amazing|okay|ok|glad|wonderful|fantastic|alright|proud|relaxed|cheerful|better|in a good mood)\b|^(?:pretty |very |quite |really )?(?:good|great|fine|not bad|all good|doing (?:well|good|great|fine))(?: thanks| thank you| and you| today)*$|best mood"),
    ("laugh", r"^(?:(?:a*ha){2,}h?a*|lo+l+|lmf?ao|rofl|he ?he(?: ?he)*|xd+|kek|hihi|lul|lmao even)\b|^(?:that is |that was )?(?:hilarious|so funny)$"),
    ("short", r"^(?:ok|okay|k|kk|hm+|mh+m*|uh huh|ah|oh|oh ok|i see|right|alright|cool|nice|wow|whoa|neat|interesting|really|huh|great|sure thing|fair|fair enough|true|indeed|got it|makes sense|meh|well|so|and|eh|um+|uh+|awesome|amazing|sweet|oof|omg|wtf|what|eh|pog|poggers|gg|f|w|same)$"),
    ("yes", r"^(?:yes|yeah|yep|yup|ya|sure|of course|definitely|absolutely|certainly|totally|please do|why not|i do|i am|i did|i have|i would|ok sure|yes please|aye|correct|right|exactly|uh huh|mhm|indeed|for sure|you bet|gladly|oh yes|hell yes|kind of|sort of|i guess|i think so|probably|affirmative)\b"),
    ("no", r"^(?:no|nope|nah|never|not really|no thanks|no way|i do not|i am not|i did not|i have not|i would not|not yet|negative|absolutely not|of course not|i do not think so|rather not|not at all|hardly|nay)\b"),
    ("hello", rf"^(?:oh |well )?{_GREETING}\b"),
)  # fmt: skip

_COMPILED = tuple((name, re.compile(pattern, re.IGNORECASE)) for name, pattern in _INTENTS)

# When a message says several things, the one with the highest rank is answered.
_RANK = {
    "hello": 1,
    "short": 1,
    "laugh": 2,
    "yes": 3,
    "no": 3,
    "statement": 2,
    "how": 6,
    "thanks": 3,
    "morning": 2,
    "compliment": 5,
    "sorry": 4,
    "feel_good": 4,
    "bye": 7,
    "night": 7,
    "injection": 20,
    "bad_news": 8,
    "question": 5,
    "why": 5,
}

# --- facts --------------------------------------------------------------------------------------------------------

_PETS = (
    "dog|cat|hamster|rabbit|bunny|parrot|bird|goldfish|fish|turtle|tortoise|horse|pony|snake|lizard|gecko|ferret|rat|mouse"
    "|guinea pig|puppy|kitten|chicken|goat|axolotl|budgie|canary|corgi|poodle|labrador|husky|pug|dachshund|beagle|pet"
)
_NAME = r"[^\W\d_][\w'-]{0,30}(?: [A-Z][\w'-]{0,30})?"
_UNTIL = r"(?P<value>[^,.!?;\n]{1,80})"
_JOBS = (
    r"\w+(?:er|or|ist|ian|eer|nurse|chef|cook|student|artist|pilot|smith|man|woman|wright|grapher|streamer|vtuber|barista|clerk|judge|guide|accountant|assistant|architect|attendant|scientist)\b"
    r"|nurse|chef|cook|student|artist|pilot|judge|clerk|barista|vet|vtuber|dj|ceo|accountant|assistant|architect|scientist|freelancer|intern"
)
_NOT_JOBS = frozenset(
    "user super order winner loser sinner over under never ever better bitter clever other another however rather together lover believer beginner "
    "stranger monster father mother brother sister daughter liar person visitor minor junior senior survivor number member reader viewer watcher "
    "human woman man vegetarian".split()
)

_FACTS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        ("name", rf"\bmy (?:real |first )?name is (?:actually )?(?P<value>{_NAME})"),
        ("name", rf"\b(?:you can |please |just |everyone |people |they |friends |my friends )?call(?:s)? me (?P<value>{_NAME})"),
        ("name", rf"\bI am called (?P<value>{_NAME})"),
        ("pet", rf"\bmy (?P<about>{_PETS})(?:'s|s)? (?:name is|is called|is named|called|named) (?P<value>{_NAME})"),
        ("pet", rf"\b(?:have|got|own|adopted|bought|getting|has) (?:a |an |one |this |my )?(?:new |little |small |big |old |cute |black |white |fluffy |lovely |tiny |young )*(?P<about>{_PETS}),? (?:named|called|whose name is|and (?:his|her|its|their) name is|and (?:he|she|it|they) (?:is|are) called|by the name of) (?P<value>{_NAME})"),
        ("pet", rf"\bmy (?P<about>{_PETS}) (?-i:(?P<value>[A-Z][\w'-]{{1,30}}))\b"),
        ("pet", rf"\b(?P<about>{_PETS}) named (?P<value>{_NAME})"),
        ("pet_unnamed", rf"\b(?:I|we) (?:also |just )?(?:have|got|own|adopted|bought|have got) (?:a |an |one )(?:new |little |small |big |old |cute |black |white |fluffy |lovely |tiny |young )*(?P<value>{_PETS})\b"),
        ("pet_name", rf"^(?:his|her|its|their|the (?:dog|cat|pet)'?s) name is (?P<value>{_NAME})|^(?:he|she|it|they) (?:is|are) called (?P<value2>{_NAME})"),
        ("birthday", r"\bmy birthday is (?:on )?(?P<value>(?!today)[^,.!?;\n]{3,40})"),
        ("age", r"\bI am (?P<value>\d{1,3})(?: years? old)?(?:$|[ ,.!])(?!\s*(?:%|percent|minutes|hours|cm|kg|km))"),
        ("age", r"\bI (?:just )?turned (?P<value>\d{1,3})\b"),
        ("home", r"\bI (?:am|come) (?:originally )?from (?P<value>[^,.!?;\n]{2,50})"),
        ("home", r"\bI (?:live|am living|grew up|was born|moved) (?:in|to|near) (?P<value>[^,.!?;\n]{2,50})"),
        ("home", r"\bmy (?:home ?town|home|city) is (?P<value>[^,.!?;\n]{2,50})"),
        ("job", r"\bI (?:work|am working) as (?P<value>an? [^,.!?;\n]{2,50})"),
        ("job", r"\bmy job is (?P<value>[^,.!?;\n]{2,50})"),
        ("job", r"\bI (?P<value>(?:work|study|teach) (?:at|in|for|with)? ?[^,.!?;\n]{2,50})"),
        ("job", r"\bI am studying (?P<value2>[^,.!?;\n]{2,50})"),
        ("job", rf"\bI am (?P<value>an? (?:\w+ ){{0,2}}(?:{_JOBS}))(?:$|[,.!?]| (?:at|in|for|from|and|by)\b)"),
        ("favourite", r"\bmy favourite (?P<about>\w+(?: \w+)?) (?:is|are) (?P<value>[^,.!?;\n]{1,60})"),
        ("dislike", r"\bI (?:really |absolutely |also |just |kind of )*(?:hate|dislike|detest|despise|(?:do|can) not (?:really )?(?:like|stand|enjoy)) (?P<value>[^,.!?;\n]{1,60})"),
        ("like", r"\bI (?:really |absolutely |also |just |kind of |do |totally |always |quite |still |usually )*(?:like|love|adore|enjoy|collect|prefer) (?P<value>[^,.!?;\n]{1,60})"),
        ("like", r"\bI am (?:really |totally |very |also |so )*(?:into|fond of|crazy about|obsessed with|a (?:big |huge |total )?fan of) (?P<value>[^,.!?;\n]{1,60})"),
        ("like", r"\bmy (?:hobby|hobbies|passion) (?:is|are) (?P<value>[^,.!?;\n]{1,60})"),
        ("like", r"\bI (?P<value>(?:play|paint|draw|read|bake|cook|dance|sing|knit|write) [^,.!?;\n]{2,50})(?: (?:a lot|every|in my))"),
        ("like", r"\bI (?:often |sometimes |usually |also )?play (?:the )?(?P<value>guitar|piano|violin|drums|chess|football|soccer|tennis|basketball|minecraft|bass|cello|flute)\b"),
        ("plan", r"\bI have (?P<value>an? (?:\w+ ){0,3}(?:exam|test|interview|date|appointment|meeting|party|concert|flight|trip|deadline|presentation|stream|race|match|wedding)[^,.!?;\n]{0,40})"),
        ("plan", r"\bI (?:am going|am planning|plan|want|hope|would like|intend|will|am about|need|have) to (?P<value>(?!say|know|ask|tell|go$|hear|talk|play|be honest|leave|sleep|you|see you)[^,.!?;\n]{3,60})"),
        ("plan", r"\b(?P<when>tomorrow|tonight|next week|this weekend|on (?:monday|tuesday|wednesday|thursday|friday|saturday|sunday)) I (?:will|am going to|have to|am|want to|have) (?P<value>[^,.!?;\n]{3,60})"),
        ("plan", r"\bI will (?P<value>(?!be back|be right|not|tell|see|try|say|do|go$)[^,.!?;\n]{3,60}(?:tomorrow|tonight|weekend|monday|tuesday|wednesday|thursday|friday|saturday|sunday|next \w+|later|soon))"),
        ("person", r"\bmy (?P<about>sister|brother|mom|mother|dad|father|wife|husband|girlfriend|boyfriend|son|daughter|best friend|friend|grandma|grandpa|boss|teacher|roommate)(?:'s name)? is (?:called |named )?(?-i:(?P<value>[A-Z][\w'-]{1,30}))\b"),
        ("attribute", r"\bmy (?P<about>(?!name|favourite|birthday|job|hobby|god|bad|life|day|opinion|point|question|turn)\w+(?: \w+)?) is (?P<value>(?!called|named|not|so|very|too|that|what|how|gone|dead|dying|sick|ill|broken|hurting|killing)[^,.!?;\n]{2,50})"),
    )
)  # fmt: skip
_I_AM = re.compile(rf"^(?:well |oh |and )*I am (?P<value>{_NAME})$", re.IGNORECASE)
_NOT_NAMES = frozenset(
    """a an the not so very too just here back sad happy fine good great ok okay tired hungry bored sick sorry sure glad new old young lost done
    ready late early busy free alone lonely cold hot warm angry mad scared afraid confused curious nervous excited vegan vegetarian german french
    english american japanese chinese spanish italian british canadian dutch polish korean russian australian indian mexican human real serious
    kidding joking leaving going trying thinking feeling doing working playing watching listening from in at on off out up down your you me it
    this that there what who how why where when asking talking testing eating drinking reading sleeping streaming awake asleep alive well better
    worse single married home stuck broke rich poor weird normal shy in impressed surprised disappointed proud jealous him her them nobody someone
    everyone anyone batman yes no none left right""".split()
)

_FLIPS = {
    "my": "your", "mine": "yours", "me": "you", "i": "you", "am": "are", "myself": "yourself", "our": "your", "we": "you",
    "your": "my", "yours": "mine", "you": "me", "yourself": "myself", "us": "you", "was": "were",
}  # fmt: skip

_STOP_WORDS = frozenset(
    """a an the and or but so if then than that this these those there here it its is are was were be been am i me my we our you your he she they them
    his her their to of in on at for with from by about as into over under up down out off again very really just also too much many more most some any
    all no not do does did done doing have has had having can could will would shall should may might must get got go goes going went come came make
    made know think say said tell told want need like love see look feel let us what who which when where why how because cause while now today yesterday
    tomorrow ever never always sometimes maybe well yes yeah ok okay oh ah hey hi hello please thanks thank something anything nothing everything thing
    things stuff lot bit one two good bad nice great new old first last other same way day time people person someone anyone everyone still even only
    gonna wanna kind sort actually probably guess mean try tried keep put take took give gave right left back quite pretty little big long""".split()
)


def flipped(text: str) -> str:
    """The same from the other side: "my bike" becomes "your bike"."""
    return " ".join(_FLIPS.get(word.lower(), word) for word in text.split())


_DOING = {
    "play": "playing", "paint": "painting", "draw": "drawing", "read": "reading", "bake": "baking", "cook": "cooking", "dance": "dancing",
    "sing": "singing", "knit": "knitting", "write": "writing", "swim": "swimming", "run": "running", "ride": "riding", "make": "making",
    "take": "taking", "drive": "driving", "hike": "hiking", "code": "coding", "travel": "travelling", "sleep": "sleeping", "eat": "eating",
    "watch": "watching", "listen": "listening", "collect": "collecting", "dive": "diving", "bike": "biking", "skate": "skating",
}  # fmt: skip
_TOO = re.compile(
    r"\s+(?:and|&)\s+(?!(?:i|my|we|you|he|she|they|it|also|then|so|that|this|there)\b)(?=[\w' -]{2,25}$)",
    re.IGNORECASE,
)


def _trimmed(value: str) -> str:
    value = _TOO.sub(" & ", value, count=1)  # "ramen and video games" is one thing to like
    value = re.split(
        r"\s+(?:and|but|because|so|when|while|which|who|since|though|cause)\s",
        value,
        maxsplit=1,
        flags=re.IGNORECASE,
    )[0]
    value = re.sub(
        r"\s+(?:a lot|very much|so much|too|the most|most|as well|though|please|haha|lol|right now|btw|now|these days)$",
        "",
        value,
        flags=re.IGNORECASE,
    )
    return value.replace(" & ", " and ").strip(" .,!?'\"-*~")


def _as_doing(value: str) -> str:
    """What somebody likes, as a thing: "to play chess" and "play chess" become "playing chess"."""
    verb, _, rest = value.removeprefix("to ").partition(" ")
    doing = _DOING.get(verb.lower()) or (
        f"{verb}ing" if value.startswith("to ") and verb[-1:] not in "e" else ""
    )
    return f"{doing} {rest}".strip() if doing else value


def _as_name(value: str) -> str:
    value = re.split(
        r"\s+(?:and|but|from|the|by|because|so|I|too|btw|please|now|here|what|how)\b",
        value.strip(),
        maxsplit=1,
    )[0]
    value = value.strip(" .,!?'\"-")
    return value[:1].upper() + value[1:] if value.islower() else value


def facts_in(clause: str) -> list[Told]:
    """What a clause tells about its speaker."""
    found: list[Told] = []
    seen: set[str] = set()
    if clause.rstrip().endswith("?"):
        return found
    for kind, pattern in _FACTS:
        match = pattern.search(clause)
        if match is None:
            continue
        groups = match.groupdict()
        value = groups.get("value") or groups.get("value2") or ""
        about = (groups.get("about") or "").lower()
        key = kind
        if kind in ("name", "pet", "pet_name", "person"):
            value = _as_name(value)
            if value.lower() in _NOT_NAMES or not value:
                continue
        elif kind == "job":
            value = _trimmed(value)
            last = value.split()[-1].lower() if value else ""
            if last in _NOT_JOBS or not value or value.split()[0].lower() == "play":
                continue
            if groups.get("value2"):
                value = f"study {value}"
        elif kind == "age":
            if not 3 <= int(value) <= 120:
                continue
        elif kind == "home":
            value = re.sub(r"^(?:the )?(?:city|town) of ", "", _trimmed(value), flags=re.IGNORECASE)
            if (
                value.lower() in ("here", "there", "work", "school", "home", "the future")
                or not value
            ):
                continue
            value = (
                value[:1].upper() + value[1:]
                if value.islower() and len(value.split()) == 1
                else value
            )
        elif kind == "plan":
            value = flipped(
                _trimmed(value) + (f" {groups['when'].lower()}" if groups.get("when") else "")
            )
        else:
            value = flipped(_trimmed(value))
            if value.lower() in (
                "you",
                "it",
                "that",
                "this",
                "them",
                "me",
                "to",
                "",
                "him",
                "her",
                "what",
                "how",
                "your voice",
                "the way",
            ):
                continue
            if kind in ("like", "dislike") and re.match(
                r"(?:me|how|when|that|it|this|what|your|my|talking to me|to know)\b",
                value,
                re.IGNORECASE,
            ):
                continue
        if kind == "like":
            value = _as_doing(value)
        if kind in ("attribute", "job", "pet") and any(told.value == value for told in found):
            continue
        if (
            not value
            or key in seen
            or (kind == "attribute" and seen & {"pet", "person", "home", "like", "favourite"})
        ):
            continue
        seen.add(key)
        found.append(Told(kind, value, about))
    if not found and (match := _I_AM.match(clause.strip(" .!"))):
        name = match["value"]
        if (
            name[:1].isupper()
            and name.lower().split()[0] not in _NOT_NAMES
            and not name.lower().endswith("ing")
        ):
            found.append(Told("name", _as_name(name)))
    return found


def bare_name(text: str) -> str:
    """The name in an answer to "what is your name?" ("Mika", "it's mika", "just Mika"), empty when there is none."""
    match = re.fullmatch(
        rf"(?:(?:it is|i am|just|you can call me|call me|my name is|the name is|they call me|hi|hello|oh|um+|well|sure)[ ,]+)*(?P<name>{_NAME})",
        _spelled_out(text).strip(" .!,~"),
        re.IGNORECASE,
    )
    if match is None or match["name"].lower().split()[0] in _NOT_NAMES | _STOP_WORDS:
        return ""
    return _as_name(match["name"]) if match["name"].islower() else match["name"]


_ANSWER_LEAD = re.compile(
    r"^(?:(?:um+|uh+|hm+|well|oh|i think|i guess|i would say|i say|probably|maybe|definitely|it is|that is|mostly|my favourite (?:\w+ )?is|i (?:really )?(?:like|love|prefer)|for me|mine is"
    r"|i would|i choose|i pick|i (?:had|ate|was|did|am)|always|just|easy|the|a|some|to|yes|no)[ ,]+)+",
    re.IGNORECASE,
)


def answer_in(text: str) -> str:
    """The short answer in a message, empty when it is no short answer."""
    first = re.split(r"[.!?;,\n]", _spelled_out(text), maxsplit=1)[0]
    answer = _ANSWER_LEAD.sub("", first.strip()).strip(" .,!'\"")
    if re.match(
        r"(?:he|she|it|they|we|you|i|there|this|that|because|so|but|what|who|how)\b",
        answer,
        re.IGNORECASE,
    ):
        return ""  # a sentence of its own, no answer to what was asked
    return flipped(answer) if 0 < len(answer.split()) <= 5 and len(answer) <= 50 else ""


def topic_of(text: str) -> str:
    """The noun it is most likely about: what follows "the", "my", "about" …, else the longest content word."""
    match = re.search(
        r"\b(?:about|my|the|our|some|a|an|any|of)\s+((?:(?:new|old|little|big|favourite)\s+)?[^\W\d_]{3,20})\b",
        text,
        re.IGNORECASE,
    )
    if match and match[1].lower() not in _STOP_WORDS:
        return match[1].lower()
    words = [
        word for word in re.findall(r"[^\W\d_]{4,20}", text.lower()) if word not in _STOP_WORDS
    ]
    words = [word for word in words if not word.endswith(("ing", "ed", "ly"))]
    return max(words, key=len) if words else ""


_FAVOURITES = {
    "colour": "colour", "food": "food", "snack": "food", "dish": "food", "meal": "food", "drink": "drink", "tea": "drink", "animal": "animal",
    "music": "music", "song": "music", "band": "music", "season": "season", "game": "game", "video game": "game", "book": "book", "author": "book",
    "film": "film", "movie": "film", "anime": "film", "show": "film", "series": "film", "number": "number", "place": "place", "country": "place",
    "city": "place", "word": "word", "flower": "flower", "plant": "flower", "day": "day", "weather": "season", "time": "day", "planet": "place",
}  # fmt: skip


def read(text: str) -> Reading:
    """Understand a message that is already in `plain` form."""
    parts = clauses(text)
    told: list[Told] = []
    best: tuple[float, str, re.Match[str] | None, str] | None = None
    greets = False
    is_question = "?" in text or "？" in text
    for n, clause in enumerate(parts):
        told += facts_in(clause)
        simple = clause if _SUM.search(clause) else _PLAIN.sub(" ", _without_tail(clause))
        simple = _SPACES.sub(" ", simple).strip()
        intent, match = _intent_of(simple)
        if intent == "hello":
            greets = True
        rank = _RANK.get(intent, 9.0) - n * 0.01
        if best is None or rank > best[0]:
            best = (rank, intent, match, clause)
    if best is None:
        return Reading(_wordless(text), text=text)
    _, intent, match, clause = best
    words = tuple(word.lower() for word in _WORD.findall(_spelled_out(text)))
    groups = {key: value for key, value in match.groupdict().items() if value} if match else {}
    topic = next((value for key, value in groups.items() if key.startswith("topic")), "")
    detail = next(
        (value for key, value in groups.items() if key.startswith(("pet", "kind", "thing", "sum"))),
        "",
    ).strip(" ?")
    if intent == "favourite":
        detail = (
            _FAVOURITES.get(detail.lower(), _FAVOURITES.get(detail.lower().split()[0], "thing"))
            if detail
            else "thing"
        )
    if intent == "statement":
        if not words:
            intent = _wordless(text)
        elif _is_gibberish(words):
            intent = "gibberish"
        elif _is_question(clause):
            intent = "question"
    if intent in ("opinion", "question", "statement"):
        cleaned = re.sub(r"[?!.]+$", "", topic).strip()
        cleaned = re.sub(
            r"^(?:(?:the|a|an|any|some|to|my|your|it when|that|what|how|who|where|if|when)\s+)+|\s+(?:is|are|means)$",
            "",
            cleaned,
            flags=re.IGNORECASE,
        )
        topic = flipped(cleaned)[:40] if cleaned and len(cleaned.split()) <= 4 else topic_of(clause)
        if topic in ("me", "you", "yourself", "it", "that", "this", "them", "here", "there"):
            topic = ""
    return Reading(
        intent=intent,
        topic=topic,
        detail=detail,
        told=tuple(told),
        is_question=is_question or _is_question(clause),
        greets=greets,
        words=words,
        text=text,
        extra=groups,
    )


def _intent_of(clause: str) -> tuple[str, re.Match[str] | None]:
    for name, pattern in _COMPILED:
        if match := pattern.search(clause):
            return name, match
    return "statement", None


def _without_tail(clause: str) -> str:
    return re.sub(
        r"[\s,]+(?:please|then|now|today|ok|okay|haha+|lol|xd|:\)|;\)|<3)\s*(?=[?!.]*$)",
        "",
        clause,
        flags=re.IGNORECASE,
    )


def _is_question(clause: str) -> bool:
    return clause.rstrip().endswith(("?", "？")) or bool(
        re.match(
            r"(?:so |and |but |hey |ok |well )*(?:what|who|where|when|which|whose|how|why|do|does|did|is|are|was|were|can|could|will|would|should|have|has) (?!not\b)\w+",
            clause,
            re.IGNORECASE,
        )
    )


def _wordless(text: str) -> str:
    if not text.strip():
        return "empty"
    if re.fullmatch(r"[?!.…\s]+", text):
        return "empty"
    return "emoji"


_VOWELS = frozenset("aeiouyáéíóúäöüàèìòùâêîôûåæøœ")


def _is_gibberish(words: tuple[str, ...]) -> bool:
    latin = [word for word in words if word.isascii() and word.isalpha() and len(word) > 3]
    if not latin or len(latin) < len(words) / 2:
        return False
    odd = sum(
        1
        for word in latin
        if not set(word) & _VOWELS
        or re.search(r"[bcdfghjklmnpqrstvwxz]{5}", word)
        or len(word) > 24
    )
    return odd > len(latin) / 2
