package snowsql

// Name is a name of one to three parts, as it is stored: unquoted parts in capitals.
type Name []string

// Place is where a piece of a statement begins.
type Place struct{ Line, Column int }

// Expr is an expression.
type Expr interface{ place() Place }

type (
	// Literal is a constant. Kind is string, number, boolean or null.
	Literal struct {
		Place
		Kind, Text string
	}
	// Column is a column, with up to three parts before its name.
	Column struct {
		Place
		Parts []string
	}
	// Path is a member of a VARIANT. Keys are names and, as int, indices.
	Path struct {
		Place
		X    Expr
		Keys []any
	}
	// Cast is x::type, CAST or TRY_CAST.
	Cast struct {
		Place
		X   Expr
		To  Type
		Try bool
	}
	// Call is a function.
	Call struct {
		Place
		Name     string
		Args     []Expr
		Named    map[string]Expr
		Star     bool
		Distinct bool
		Order    []Order // WITHIN GROUP
		Over     *Window
	}
	// Window is the clause after OVER.
	Window struct {
		Partition []Expr
		Order     []Order
	}
	// Order is one key of ORDER BY.
	Order struct {
		X          Expr
		Descending bool
		Nulls      string // FIRST, LAST or empty
	}
	// Unary is NOT, + or -.
	Unary struct {
		Place
		Op string
		X  Expr
	}
	// Binary is an operator between two values: arithmetic, comparison, AND, OR, ||,
	// LIKE, ILIKE.
	Binary struct {
		Place
		Op   string
		L, R Expr
	}
	// IsNull is IS [NOT] NULL.
	IsNull struct {
		Place
		X   Expr
		Not bool
	}
	// In is [NOT] IN, with a list or a query.
	In struct {
		Place
		X     Expr
		List  []Expr
		Query *Query
		Not   bool
	}
	// Between is [NOT] BETWEEN.
	Between struct {
		Place
		X, Low, High Expr
		Not          bool
	}
	// Case is CASE with or without an operand.
	Case struct {
		Place
		X           Expr
		When, Then  []Expr
		Else        Expr
		Conditional bool // IFF
	}
	// Exists is EXISTS (query).
	Exists struct {
		Place
		Query *Query
	}
	// Scalar is a query for a value.
	Scalar struct {
		Place
		Query *Query
	}
	// Bind is a ? of the statement, from 1.
	Bind struct {
		Place
		N int
	}
)

func (p Place) place() Place { return p }

// Query is a SELECT, with the clauses that may surround it.
type Query struct {
	With   []Named
	Select *Select
	Left   *Query // of a set operation
	Op     string // UNION, UNION ALL, EXCEPT, INTERSECT
	Right  *Query
	Order  []Order
	Limit  Expr
	Offset Expr
}

// Named is one query of WITH.
type Named struct {
	Name    string
	Columns []string
	Query   *Query
}

// Select is one SELECT.
type Select struct {
	Distinct bool
	Items    []Item
	From     []*Table
	Where    Expr
	Group    []Expr
	GroupAll bool
	Having   Expr
	Qualify  Expr
}

// Item is one output column, or a star.
type Item struct {
	X         Expr
	Alias     string
	Star      bool
	Qualifier Name
	Exclude   []string
}

// Table is one piece of FROM.
type Table struct {
	Place
	Name     Name
	Query    *Query
	Values   [][]Expr
	Function *Call // TABLE(f()) or LATERAL FLATTEN
	Alias    string
	Columns  []string
	Join     string // of this table with those before it: empty is a comma
	On       Expr
	Using    []string
}

// Statement is one statement.
type Statement interface{}

type (
	// QueryStatement is a SELECT.
	QueryStatement struct{ Query *Query }
	// Explain asks for the plan of a query; it checks the statement.
	ColumnDefinition struct {
		Name    string
		Type    Type
		NotNull bool
		Default Expr
		Comment string
	}
	// CreateTable is CREATE TABLE, with columns or AS.
	CreateTable struct {
		Name        Name
		Columns     []ColumnDefinition
		Like        Name
		As          *Query
		Cluster     []Expr
		ClusterText string
		OrReplace   bool
		IfNotExists bool
		Kind        string // TRANSIENT, TEMPORARY or empty
		Comment     string
	}
	// CreateView is CREATE VIEW. Text is that of its query.
	CreateView struct {
		Name        Name
		Columns     []string
		Query       *Query
		Text        string
		OrReplace   bool
		IfNotExists bool
		CopyGrants  bool
		Secure      bool
		Comment     string
	}
	// CreateStage is CREATE STAGE.
	CreateStage struct {
		Name        Name
		OrReplace   bool
		IfNotExists bool
		Temporary   bool
		Options     map[string]Option
	}
	// Create is CREATE of an object with options only: DATABASE, SCHEMA, ROLE, USER,
	// WAREHOUSE, STORAGE INTEGRATION, NETWORK POLICY, RESOURCE MONITOR, and others.
	Create struct {
		Kind        string
		Name        Name
		OrReplace   bool
		IfNotExists bool
		Options     map[string]Option
	}
	// AlterTable is ALTER TABLE. Action is CLUSTER BY, DROP CLUSTERING KEY, RENAME,
	// SWAP, ADD COLUMN, SUSPEND RECLUSTER, RESUME RECLUSTER, SET or UNSET.
	AlterTable struct {
		Name        Name
		IfExists    bool
		Action      string
		To          Name
		Cluster     []Expr
		ClusterText string
		Columns     []ColumnDefinition
		Options     map[string]Option
	}
	// Alter is ALTER of other objects with SET, UNSET or RESUME and SUSPEND.
	Alter struct {
		Kind     string // SESSION, USER, WAREHOUSE, ACCOUNT, …
		Name     Name
		IfExists bool
		Action   string
		Options  map[string]Option
		Unset    []string
	}
	// Drop is DROP.
	Drop struct {
		Kind     string
		Name     Name
		IfExists bool
		Cascade  bool
	}
	// CopyInto is COPY INTO a table.
	CopyInto struct {
		Table   Name
		Columns []string
		From    Location
		Query   *Query // a transformation; nil: none
		Files   []string
		Pattern string
		HasList bool
		Options map[string]Option
	}
	// Put is PUT.
	Put struct {
		File    string
		To      Location
		Options map[string]Option
	}
	// Get is GET.
	Get struct {
		From Location
		To   string
	}
	// List is LIST.
	List struct {
		From    Location
		Pattern string
	}
	// Remove is REMOVE.
	Remove struct {
		From    Location
		Pattern string
	}
	// Insert is INSERT.
	Insert struct {
		Table     Name
		Overwrite bool
		Columns   []string
		Values    [][]Expr
		Query     *Query
	}
	// Update is UPDATE.
	Update struct {
		Table Name
		Alias string
		Set   []Assignment
		From  []*Table
		Where Expr
	}
	// Assignment is one of SET.
	Assignment struct {
		Column Column
		Value  Expr
	}
	// Delete is DELETE.
	Delete struct {
		Table Name
		Alias string
		Using []*Table
		Where Expr
	}
	// Truncate is TRUNCATE TABLE.
	Truncate struct {
		Table    Name
		IfExists bool
	}
	// Merge is MERGE.
	Merge struct {
		Table  Name
		Alias  string
		Source *Table
		On     Expr
		When   []MergeClause
	}
	// MergeClause is one WHEN of MERGE.
	MergeClause struct {
		Matched bool
		And     Expr
		Delete  bool
		Set     []Assignment
		Columns []string
		Values  []Expr
	}
	// Begin, Commit and Rollback are those of transactions.
	Begin    struct{ Name string }
	Commit   struct{}
	Rollback struct{}
	// Use is USE.
	Use struct {
		Kind string // DATABASE, SCHEMA, WAREHOUSE, ROLE, SECONDARY ROLES
		Name Name
	}
	// Show is SHOW.
	Show struct {
		Kind    string // PARAMETERS, GRANTS, TABLES, …
		Like    string
		HasLike bool
		In      string // kind of the scope
		Scope   Name
		To      string // SHOW GRANTS TO ROLE|USER, OF ROLE
		On      string // SHOW GRANTS ON kind
		Terse   bool
		Starts  string
		Limit   Expr
	}
	// Describe is DESCRIBE.
	Describe struct {
		Kind string
		Name Name
	}
	// Grant is GRANT or REVOKE.
	Grant struct {
		Revoke     bool
		Privileges []string // empty: a role
		Role       string
		On         string // kind of the object
		Name       Name
		Future     bool // ON FUTURE <On> IN <InKind> Name
		All        bool
		InKind     string
		To         string // ROLE or USER
		Grantee    string
		Option     bool
	}
	// Comment is COMMENT ON.
	Comment struct {
		Kind string
		Name Name
		Text string
	}
)

// Option is the value of an option: a text, a list or options of its own.
type Option struct {
	Place
	Text string
	// Kind is word, string, number, list or options.
	Kind    string
	List    []string
	Options map[string]Option
}

// Location is a place in a stage: @name/path, @~/path or @%table/path.
type Location struct {
	Stage Name
	User  bool
	Table string
	Path  string
	URL   string // an external location without a stage
}
