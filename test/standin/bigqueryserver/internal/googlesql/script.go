package googlesql

import (
	"strings"
)

// Statement is one statement of a script.
type Statement struct {
	// Type is BigQuery's name of the kind: SELECT, INSERT, BEGIN_TRANSACTION, …; for
	// statements of the procedural language, those of the constants below.
	Type string
	// Tokens are those of the statement without its semicolon.
	Tokens []Token

	// Condition and Then are those of IF, ASSERT, SET and DECLARE; a block has only
	// Then.
	Condition []Token
	Then      []Statement
	// Else is that of IF, or the handler of a block.
	Else []Statement
	// Handler reports whether a block has an exception handler.
	Handler bool
	// Names are the variables of DECLARE and SET; VarType the type of DECLARE.
	Names   []string
	VarType string
	// Text is the description of ASSERT.
	Text string
}

// Statements of the procedural language.
const (
	Declare = "DECLARE"
	Set     = "SET"
	If      = "IF"
	Block   = "BLOCK"
	Assert  = "ASSERT"
	Raise   = "RAISE"
	Execute = "EXECUTE_IMMEDIATE"
)

// Start and End are the bytes of the statement in the script.
func (s Statement) Start() int { return s.Tokens[0].Start }

// End is the byte after the statement.
func (s Statement) End() int { return s.Tokens[len(s.Tokens)-1].End }

// Split parses a script.
func Split(script string) ([]Statement, error) {
	tokens, err := Lex(script)
	if err != nil {
		return nil, err
	}
	s := splitter{Translator{Script: script, tokens: tokens}}
	list, err := s.list()
	if err == nil && s.peek().Kind != End {
		err = s.unexpected("Unexpected")
	}
	if err == nil && len(list) == 0 {
		err = errorAt(0, "Syntax error: Unexpected end of statement")
	}
	return list, err
}

type splitter struct{ Translator }

// list reads statements up to a word that ends a list.
func (s *splitter) list() ([]Statement, error) {
	var list []Statement
	for {
		for s.accept(";") {
		}
		if s.peek().Kind == End || s.is("END") || s.is("ELSE") || s.is("ELSEIF") || s.is("EXCEPTION") {
			return list, nil
		}
		statement, err := s.statement()
		if err != nil {
			return nil, err
		}
		list = append(list, statement)
		if s.peek().Kind != End {
			if err := s.expect(";"); err != nil {
				return nil, s.unexpected(`Expected end of input but got`)
			}
		}
	}
}

func (s *splitter) statement() (st Statement, err error) {
	start := s.at
	switch {
	case s.is("DECLARE"):
		st, err = s.declare()
	case s.is("SET"):
		st, err = s.set()
	case s.is("IF"):
		st, err = s.ifThen()
	case s.is("ASSERT"):
		st, err = s.assert()
	case s.is("BEGIN") && !s.peekAt(1).Is("TRANSACTION") && !s.peekAt(1).Is(";") && s.peekAt(1).Kind != End:
		st, err = s.block()
	case s.is("RAISE"):
		st, err = s.raise()
	case s.is("EXECUTE IMMEDIATE"):
		s.at += 2
		st = Statement{Type: Execute, Condition: s.rest("INTO", "USING")}
		if s.is("INTO") || s.is("USING") {
			err = s.unknown("EXECUTE IMMEDIATE … " + s.peek().Text)
		}
	default:
		st.Type, err = s.kind()
		s.rest()
	}
	st.Tokens = s.tokens[start:s.at]
	return st, err
}

// rest takes the tokens up to the end of the statement or one of the words.
func (s *splitter) rest(words ...string) []Token {
	start, depth := s.at, 0
	for ; s.peek().Kind != End; s.at++ {
		token := s.peek()
		if token.Is("(") || token.Is("[") {
			depth++
		}
		if token.Is(")") || token.Is("]") {
			depth--
		}
		if token.Is(";") {
			break
		}
		if depth == 0 {
			for _, w := range words {
				if token.Is(w) {
					return s.tokens[start:s.at]
				}
			}
			if token.Is("CASE") {
				depth += 1000
			}
		} else if depth >= 1000 && token.Is("END") {
			depth -= 1000
		} else if depth >= 1000 && token.Is("CASE") {
			depth += 1000
		}
	}
	return s.tokens[start:s.at]
}

// kinds are the statements by their first words.
var kinds = []struct{ words, kind string }{
	{"SELECT", "SELECT"}, {"WITH", "SELECT"}, {"(", "SELECT"},
	{"INSERT", "INSERT"}, {"UPDATE", "UPDATE"}, {"DELETE", "DELETE"}, {"MERGE", "MERGE"}, {"TRUNCATE TABLE", "TRUNCATE_TABLE"},
	{"BEGIN", "BEGIN_TRANSACTION"}, {"COMMIT", "COMMIT_TRANSACTION"}, {"ROLLBACK", "ROLLBACK_TRANSACTION"},
	{"CREATE TABLE", "CREATE_TABLE"}, {"CREATE OR REPLACE TABLE", "CREATE_TABLE"}, {"CREATE TEMP TABLE", "CREATE_TABLE"}, {"CREATE TEMPORARY TABLE", "CREATE_TABLE"},
	{"CREATE VIEW", "CREATE_VIEW"}, {"CREATE OR REPLACE VIEW", "CREATE_VIEW"}, {"CREATE SCHEMA", "CREATE_SCHEMA"},
	{"DROP TABLE", "DROP_TABLE"}, {"DROP VIEW", "DROP_VIEW"}, {"DROP SCHEMA", "DROP_SCHEMA"},
	{"ALTER TABLE", "ALTER_TABLE"},
}

func (s *splitter) kind() (string, error) {
	if s.is("CREATE TABLE FUNCTION") || s.is("CREATE OR REPLACE TABLE FUNCTION") {
		return "", s.unknown("CREATE TABLE FUNCTION")
	}
	for _, k := range kinds {
		if s.is(k.words) {
			if k.kind == "CREATE_TABLE" || k.kind == "CREATE_VIEW" {
				return s.createKind(k.kind), nil
			}
			return k.kind, nil
		}
	}
	for _, word := range []string{"CREATE", "DROP", "ALTER", "CALL", "EXPORT", "LOAD", "GRANT", "REVOKE", "WHILE", "LOOP", "FOR", "REPEAT", "BREAK", "LEAVE", "CONTINUE", "ITERATE", "RETURN", "UNDROP"} {
		if s.is(word) {
			return "", s.unknown(strings.ToUpper(word) + " " + s.peekAt(1).Text)
		}
	}
	return "", s.unexpected("Unexpected")
}

func (s *splitter) createKind(kind string) string {
	tokens := s.rest()
	s.at -= len(tokens)
	for n, t := range tokens {
		if n > 1 && t.Is("AS") && kind == "CREATE_TABLE" && (tokens[n+1:] != nil) && len(tokens) > n+1 && (tokens[n+1].Is("SELECT") || tokens[n+1].Is("WITH") || tokens[n+1].Is("(")) {
			return "CREATE_TABLE_AS_SELECT"
		}
	}
	return kind
}

func (s *splitter) declare() (Statement, error) {
	s.take()
	st := Statement{Type: Declare}
	if _, err := s.exprs(func() (string, error) {
		name, err := s.name()
		st.Names = append(st.Names, strings.ToLower(name.Text))
		return "", err
	}); err != nil {
		return st, err
	}
	if !s.is("DEFAULT") {
		typ, err := s.typeName()
		if err != nil {
			return st, err
		}
		st.VarType = typ
	}
	if s.accept("DEFAULT") {
		st.Condition = s.rest()
	} else if s.peek().Kind != End && !s.is(";") {
		return st, s.unexpected("Unexpected")
	}
	return st, nil
}

func (s *splitter) set() (Statement, error) {
	s.take()
	st := Statement{Type: Set}
	if s.is("(") {
		return st, s.unknown("SET of several variables")
	}
	if s.peek().Kind == SysVar {
		return st, s.unknown("SET @@" + s.peek().Text)
	}
	name, err := s.name()
	if err != nil {
		return st, err
	}
	st.Names = []string{strings.ToLower(name.Text)}
	if err := s.expect("="); err != nil {
		return st, err
	}
	st.Condition = s.rest()
	return st, nil
}

func (s *splitter) assert() (Statement, error) {
	s.take()
	st := Statement{Type: Assert, Condition: s.rest("AS")}
	if s.accept("AS") {
		token := s.take()
		if token.Kind != String {
			s.at--
			return st, s.unexpected("Expected string literal but got")
		}
		st.Text = token.Text
	}
	return st, nil
}

func (s *splitter) raise() (Statement, error) {
	s.take()
	st := Statement{Type: Raise}
	if s.accept("USING MESSAGE =") {
		st.Condition = s.rest()
	}
	return st, nil
}

func (s *splitter) ifThen() (Statement, error) {
	s.take() // IF or ELSEIF
	st := Statement{Type: If, Condition: s.rest("THEN")}
	if err := s.expect("THEN"); err != nil {
		return st, err
	}
	var err error
	if st.Then, err = s.list(); err != nil {
		return st, err
	}
	start := s.at
	switch {
	case s.is("ELSEIF"):
		nested, err := s.ifThen()
		nested.Tokens = s.tokens[start:s.at]
		st.Else = []Statement{nested}
		return st, err
	case s.accept("ELSE"):
		if st.Else, err = s.list(); err != nil {
			return st, err
		}
	}
	return st, s.expect("END IF")
}

func (s *splitter) block() (Statement, error) {
	s.take()
	st := Statement{Type: Block}
	var err error
	if st.Then, err = s.list(); err != nil {
		return st, err
	}
	if s.accept("EXCEPTION WHEN ERROR THEN") {
		st.Handler = true
		if st.Else, err = s.list(); err != nil {
			return st, err
		}
	}
	return st, s.expect("END")
}
