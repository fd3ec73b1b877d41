package architecture

import "regexp"

// wordRule refuses words in comments, messages and documents.
type wordRule struct {
	pattern *regexp.Regexp
	except  *regexp.Regexp // texts around a match that excuse it; nil: none
	instead string
}

func words(pattern, instead string) wordRule {
	return wordRule{pattern: regexp.MustCompile(`(?i)\b(?:` + pattern + `)\b`), instead: instead}
}

func (r wordRule) butFor(around string) wordRule {
	r.except = regexp.MustCompile(`(?i)` + around)
	return r
}

const nounSubject = "let a noun be the subject"

// wordList holds comments, messages and documents to plain English.
var wordList = []wordRule{
	words(`says? whether`, `write "reports whether"`),
	words(`whoever`, nounSubject),
	words(`nobody`, nounSubject),
	words(`those behind`, nounSubject),
	words(`anew`, `write "again"`),
	words(`meanwhile`, `name the time`),
	words(`by now`, `name the time, or write "already"`),
	words(`belongs? into`, `write "belongs in"`),
	words(`is what`, nounSubject),
	words(`is no`, `write "is not a"`).butFor(`there is no$|is no (longer|more|less|fewer|later|earlier|greater|smaller|larger)\b`),
	words(`is none`, `name what is missing`).butFor(`there is none$`),
	words(`as it stands`, `write "as it is", or name the state`),
	words(`what may pass`, `write "transient"`),
	words(`beside`, `write "next to", "with" or "in addition to"`),
}

// clauseSubject finds sentences, and parts of sentences, that begin with a
// clause: "What is sealed is kept." Questions are allowed.
var clauseSubject = regexp.MustCompile(`(?:^|[.!?;:)] )((?:What|what|Who|who) [a-z]+)([^.?!;]*)([.?!;]|$)`)

// refusedNames are names that do not describe the thing they stand for.
var refusedNames = map[string]bool{
	"one": true, "plain": true, "with": true, "who": true, "straight": true, "nothing": true, "nobody": true, "passing": true,
}

const (
	// maxWhats is how many "what" 1,000 words of comments may have.
	maxWhats = 2
	// minDocLength is how many words a doc comment has at least, on average.
	minDocLength = 12
)

// exception excuses one text or name in one file.
type exception struct{ path, rule, why string }

// exceptions are uses that are right as they are. rule is the words, in lower
// case, or the name.
var exceptions = []exception{}

// leftOut are files that are not looked at.
var leftOut = map[string]string{
	"test/architecture/words_test.go":   "the list itself",
	"test/architecture/wording_test.go": "planted violations",
}
