package googlesql

import (
	"strings"
)

// Column is a column of a table or query, with its type as GoogleSQL writes it;
// the type is empty when it is not known.
type Column struct{ Name, Type string }

// Table is a table, view or query that a statement may read.
type Table struct {
	// Name is project.dataset.table; empty: a query.
	Name string
	// SQL names the table in DuckDB, or is a query in parentheses.
	SQL     string
	Columns []Column
	// IngestionTime reports whether the table has the column _PARTITIONTIME, which
	// SELECT * leaves out.
	IngestionTime bool
	// Suffix reports whether the table has the column _TABLE_SUFFIX.
	Suffix bool
}

func (t *Table) column(name string) (Column, bool) {
	for _, c := range t.Columns {
		if strings.EqualFold(c.Name, name) {
			return c, true
		}
	}
	switch {
	case t.IngestionTime && strings.EqualFold(name, "_PARTITIONTIME"):
		return Column{Name: "_PARTITIONTIME", Type: "TIMESTAMP"}, true
	case t.IngestionTime && strings.EqualFold(name, "_PARTITIONDATE"):
		return Column{Name: "_PARTITIONDATE", Type: "DATE"}, true
	case t.Suffix && strings.EqualFold(name, "_TABLE_SUFFIX"):
		return Column{Name: "_TABLE_SUFFIX", Type: "STRING"}, true
	}
	return Column{}, false
}

// Catalog resolves names. Its errors go to the caller as they are.
type Catalog interface {
	// Read returns a table that a statement reads, by the parts of its path.
	Read(path []string, position int) (*Table, error)
	// Describe returns the columns of a query in DuckDB's SQL.
	Describe(query string) ([]Column, error)
}

// Value is the value of a variable or parameter.
type Value struct{ SQL, Type string }

// Translator translates statements and expressions of one script.
type Translator struct {
	Catalog Catalog
	// Script is the whole text, for positions.
	Script string
	// Variables are the script's, by their names in lower case.
	Variables map[string]Value
	// System are system variables, such as row_count.
	System map[string]Value
	// Parameters are the query's by their names in lower case; positional ones are
	// named by their number, from 1.
	Parameters map[string]Value

	tokens   []Token
	at       int
	scopes   []*scope
	tables   []cte
	question int // positional parameters so far
}

type cte struct {
	name  string
	sql   string
	table *Table
}

type scope struct {
	items   []item
	aliases map[string]string // of the select list, with their types
	// late reports whether names of the select list may be used.
	late bool
}

type item struct {
	alias string
	table *Table
	// value is the type of the elements of an UNNEST, whose alias is a column.
	value  string
	isElem bool
}

// Expr is a translated expression.
type Expr struct {
	SQL  string
	Type string
	// Literal reports whether it is one literal, which BigQuery converts more freely.
	Literal bool

	name string // that a select list gives it; empty: none
}

// use begins to translate some tokens.
func (t *Translator) use(tokens []Token) {
	t.tokens, t.at, t.scopes, t.tables = tokens, 0, nil, nil
	if n := len(tokens); n == 0 || tokens[n-1].Kind != End {
		end := len(t.Script)
		if n > 0 {
			end = tokens[n-1].End
		}
		t.tokens = append(tokens[:n:n], Token{Kind: End, Start: end, End: end})
	}
}

func (t *Translator) peek() Token { return t.tokens[t.at] }

func (t *Translator) peekAt(n int) Token {
	return t.tokens[min(t.at+n, len(t.tokens)-1)]
}

func (t *Translator) take() Token {
	token := t.peek()
	if token.Kind != End {
		t.at++
	}
	return token
}

// Is reports whether a token is a keyword or symbol.
func (t Token) Is(text string) bool {
	return (t.Kind == Ident || t.Kind == Symbol) && strings.EqualFold(t.Text, text)
}

// is reports whether the next tokens are the words of text.
func (t *Translator) is(text string) bool {
	for n, word := range strings.Fields(text) {
		if !t.peekAt(n).Is(word) {
			return false
		}
	}
	return true
}

// accept skips the words of text when they come next.
func (t *Translator) accept(text string) bool {
	if !t.is(text) {
		return false
	}
	t.at += len(strings.Fields(text))
	return true
}

func (t *Translator) expect(text string) error {
	if t.accept(text) {
		return nil
	}
	return t.unexpected("Expected " + quoteToken(strings.ToUpper(text)) + " but got")
}

func quoteToken(text string) string {
	if isLetter(text[0]) {
		return "keyword " + text
	}
	return `"` + text + `"`
}

// unexpected is the refusal of the next token.
func (t *Translator) unexpected(prefix string) error {
	token := t.peek()
	var got string
	switch {
	case token.Kind == End:
		got = "end of script"
	case token.Kind == Ident && keywords[strings.ToUpper(token.Text)]:
		got = "keyword " + strings.ToUpper(token.Text)
	case token.Kind == Ident || token.Kind == Quoted:
		got = "identifier " + token.Text
	case token.Kind == String:
		got = "string literal " + t.Script[token.Start:token.End]
	case token.Kind == Int:
		got = "integer literal " + `"` + token.Text + `"`
	case token.Kind == Float:
		got = "floating point literal " + `"` + token.Text + `"`
	default:
		got = `"` + token.Text + `"`
	}
	return errorAt(token.Start, "Syntax error: %s %s", prefix, got)
}

// unknown refuses what the stand-in does not translate.
func (t *Translator) unknown(what string) error {
	return errorAt(t.peek().Start, "the stand-in does not know this statement: %s", what)
}

// keywords are GoogleSQL's reserved words.
var keywords = setOf("ALL AND ANY ARRAY AS ASC ASSERT_ROWS_MODIFIED AT BETWEEN BY CASE CAST COLLATE CONTAINS CREATE CROSS CUBE CURRENT DEFAULT DEFINE DESC DISTINCT ELSE END ENUM ESCAPE EXCEPT EXCLUDE EXISTS EXTRACT FALSE FETCH FOLLOWING FOR FROM FULL GROUP GROUPING GROUPS HASH HAVING IF IGNORE IN INNER INTERSECT INTERVAL INTO IS JOIN LATERAL LEFT LIKE LIMIT LOOKUP MERGE NATURAL NEW NO NOT NULL NULLS OF ON OR ORDER OUTER OVER PARTITION PRECEDING PROTO QUALIFY RANGE RECURSIVE RESPECT RIGHT ROLLUP ROWS SELECT SET SOME STRUCT TABLESAMPLE THEN TO TREAT TRUE UNBOUNDED UNION UNNEST USING WHEN WHERE WINDOW WITH WITHIN")

func setOf(words string) map[string]bool {
	set := make(map[string]bool)
	for _, word := range strings.Fields(words) {
		set[word] = true
	}
	return set
}

// name takes an identifier.
func (t *Translator) name() (Token, error) {
	token := t.peek()
	if token.Kind == Quoted || token.Kind == Ident && !keywords[strings.ToUpper(token.Text)] {
		return t.take(), nil
	}
	return token, t.unexpected("Unexpected")
}

// path takes a path of a table, whose parts a quoted name may hold together and
// which may contain dashes.
func (t *Translator) path() ([]string, error) {
	first, err := t.name()
	if err != nil {
		return nil, err
	}
	text := first.Text
	var parts []string
	for first.Kind == Ident && t.is("-") && t.peek().Start == first.End && t.peekAt(1).Start == t.peek().End {
		t.take()
		more := t.take()
		text, first.End = text+"-"+more.Text, more.End
	}
	for {
		if first.Kind == Quoted {
			parts = append(parts, strings.Split(text, ".")...)
		} else {
			parts = append(parts, text)
		}
		if !t.accept(".") {
			return parts, nil
		}
		first = t.take()
		text = first.Text
		if first.Kind != Ident && first.Kind != Quoted {
			t.at--
			return nil, t.unexpected("Unexpected")
		}
	}
}

// QuoteName quotes a name for DuckDB.
func QuoteName(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// QuoteString quotes a text for DuckDB.
func QuoteString(text string) string {
	if strings.ContainsRune(text, 0) {
		parts := strings.Split(text, "\x00")
		for n, p := range parts {
			parts[n] = QuoteString(p)
		}
		return "(" + strings.Join(parts, " || chr(0) || ") + ")"
	}
	return "'" + strings.ReplaceAll(text, "'", "''") + "'"
}
