package awsserver

import (
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// maxBatch is the largest number of partitions of one call.
const maxBatch = 100

// Glue is a catalog.
type Glue struct {
	service
	databases map[string]*database // guarded by service.mu
	denied    map[string]string    // by operation: the text of Lake Formation
	broken    map[string]string    // by value of a partition: the code of its error
	always    map[string]bool      // broken is for more than one creation
}

type database struct {
	input  Object
	tables map[string]*table
}

type table struct {
	input      Object
	version    int
	archived   int // versions
	partitions map[string]Object
}

// Object is a structure of the wire.
type Object = map[string]any

// StartGlue starts a catalog in a region.
func StartGlue(t testing.TB, sts *STS, region string) *Glue {
	t.Helper()
	g := &Glue{databases: map[string]*database{}, denied: map[string]string{}, broken: map[string]string{}, always: map[string]bool{}}
	g.service = service{name: "glue", prefix: "AWSGlue", region: region, sts: sts, operations: map[string]func([]byte) (any, error){
		"GetDatabase":          guarded(g, "GetDatabase", g.getDatabase),
		"CreateDatabase":       guarded(g, "CreateDatabase", g.createDatabase),
		"DeleteDatabase":       guarded(g, "DeleteDatabase", g.deleteDatabase),
		"GetTable":             guarded(g, "GetTable", g.getTable),
		"CreateTable":          guarded(g, "CreateTable", g.createTable),
		"UpdateTable":          guarded(g, "UpdateTable", g.updateTable),
		"DeleteTable":          guarded(g, "DeleteTable", g.deleteTable),
		"BatchCreatePartition": guarded(g, "BatchCreatePartition", g.createPartitions),
		"BatchUpdatePartition": guarded(g, "BatchUpdatePartition", g.updatePartitions),
		"BatchGetPartition":    guarded(g, "BatchGetPartition", g.getPartitions),
	}}
	g.start(t)
	return g
}

// guarded answers an operation that Lake Formation has not denied.
func guarded[T any](g *Glue, name string, run func(T) (any, error)) func([]byte) (any, error) {
	return operation(func(in T) (any, error) {
		if text := g.denied[name]; text != "" {
			return nil, refuse("AccessDeniedException", "Insufficient Lake Formation permission(s): %s", text)
		}
		return run(in)
	})
}

// DenyLakeFormation makes an operation fail as one without a grant of Lake
// Formation does. text is the second half of the message, as in "Required Create
// Database on Catalog"; empty: the operation is granted.
func (g *Glue) DenyLakeFormation(operation, text string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.denied[operation] = text
}

// BreakPartition makes the next creation of a partition fail with an error of its
// own, in an answer of status 200.
func (g *Glue) BreakPartition(value, code string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.broken[value] = code
}

// Table returns a table's input, its version and the number of archived versions;
// nil: there is none.
func (g *Glue) Table(database, name string) (input Object, version, archived int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if d := g.databases[database]; d != nil && d.tables[name] != nil {
		t := d.tables[name]
		return maps.Clone(t.input), t.version, t.archived
	}
	return nil, 0, 0
}

// Partitions returns the locations of a table's partitions by value.
func (g *Glue) Partitions(database, name string) map[string]string {
	g.mu.Lock()
	defer g.mu.Unlock()
	found := make(map[string]string)
	if d := g.databases[database]; d != nil && d.tables[name] != nil {
		for value, p := range d.tables[name].partitions {
			storage, _ := p["StorageDescriptor"].(map[string]any)
			found[value], _ = storage["Location"].(string)
		}
	}
	return found
}

// Change edits a table as another user does, and makes a new version of it.
func (g *Glue) Change(database, name string, edit func(input Object)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.databases[database].tables[name]
	edit(t.input)
	t.version++
}

// Drop removes a table, as another user does.
func (g *Glue) Drop(database, name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.databases[database].tables, name)
}

// DropPartition removes a partition, as another user does.
func (g *Glue) DropPartition(database, name, value string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.databases[database].tables[name].partitions, value)
}

// BreakPartitionAlways is BreakPartition for all creations that follow.
func (g *Glue) BreakPartitionAlways(value, code string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.broken[value], g.always[value] = code, true
}

type named struct {
	CatalogId, Name, DatabaseName string
	IncludeStatusDetails          bool `json:",omitempty"`
}

func missing(kind, name string) *Refusal {
	return refuse("EntityNotFoundException", "%s %s not found.", kind, name)
}

var nameForm = regexp.MustCompile(`^[a-z0-9_][a-z0-9_-]{0,254}$`)

func (g *Glue) getDatabase(in named) (any, error) {
	d := g.databases[in.Name]
	if d == nil {
		return nil, missing("Database", in.Name)
	}
	return Object{"Database": d.input}, nil
}

func (g *Glue) createDatabase(in struct {
	CatalogId     string
	DatabaseInput Object
	Tags          map[string]string
},
) (any, error) {
	name, _ := in.DatabaseInput["Name"].(string)
	if !nameForm.MatchString(name) {
		return nil, refuse("InvalidInputException", "1 validation error detected: Value '%s' at 'databaseInput.name' failed to satisfy constraint", name)
	}
	if g.databases[name] != nil {
		return nil, refuse("AlreadyExistsException", "Database already exists.")
	}
	g.databases[name] = &database{input: in.DatabaseInput, tables: map[string]*table{}}
	return Object{}, nil
}

func (g *Glue) deleteDatabase(in named) (any, error) {
	if g.databases[in.Name] == nil {
		return nil, missing("Database", in.Name)
	}
	delete(g.databases, in.Name)
	return Object{}, nil
}

func (g *Glue) deleteTable(in named) (any, error) {
	if _, err := g.table(in.DatabaseName, in.Name); err != nil {
		return nil, err
	}
	delete(g.databases[in.DatabaseName].tables, in.Name)
	return Object{}, nil
}

// table returns a table, or the refusal of one that does not exist.
func (g *Glue) table(database, name string) (*table, error) {
	d := g.databases[database]
	if d == nil {
		return nil, missing("Database", database)
	}
	if t := d.tables[name]; t != nil {
		return t, nil
	}
	return nil, missing("Table", name)
}

// tableMembers are those of a TableInput. Glue answers others, such as the
// read-only ones of a Table, with a refusal.
var tableMembers = []string{
	"Name", "Description", "Owner", "LastAccessTime", "LastAnalyzedTime", "Retention", "StorageDescriptor",
	"PartitionKeys", "ViewOriginalText", "ViewExpandedText", "TableType", "Parameters", "TargetTable", "ViewDefinition",
}

func checkTable(input Object) (name string, err error) {
	for member := range input {
		if !slices.Contains(tableMembers, member) {
			return "", refuse("SerializationException", "TableInput has no member %s", member)
		}
	}
	name, _ = input["Name"].(string)
	if !nameForm.MatchString(name) {
		return "", refuse("InvalidInputException", "1 validation error detected: Value '%s' at 'tableInput.name' failed to satisfy constraint", name)
	}
	return name, nil
}

func (g *Glue) createTable(in struct {
	CatalogId, DatabaseName string
	TableInput              Object
},
) (any, error) {
	name, err := checkTable(in.TableInput)
	if err != nil {
		return nil, err
	}
	d := g.databases[in.DatabaseName]
	if d == nil {
		return nil, missing("Database", in.DatabaseName)
	}
	if d.tables[name] != nil {
		return nil, refuse("AlreadyExistsException", "Table already exists.")
	}
	d.tables[name] = &table{input: in.TableInput, partitions: map[string]Object{}}
	return Object{}, nil
}

func (g *Glue) getTable(in named) (any, error) {
	t, err := g.table(in.DatabaseName, in.Name)
	if err != nil {
		return nil, err
	}
	out := maps.Clone(t.input)
	out["DatabaseName"], out["VersionId"] = in.DatabaseName, strconv.Itoa(t.version)
	out["CreatedBy"], out["CatalogId"], out["IsRegisteredWithLakeFormation"] = "arn:aws:iam::123456789012:role/export", "123456789012", false
	return Object{"Table": out}, nil
}

func (g *Glue) updateTable(in struct {
	CatalogId, DatabaseName, VersionId string
	SkipArchive                        bool
	Force                              bool
	TableInput                         Object
},
) (any, error) {
	name, err := checkTable(in.TableInput)
	if err != nil {
		return nil, err
	}
	t, err := g.table(in.DatabaseName, name)
	if err != nil {
		return nil, err
	}
	if in.VersionId != "" && in.VersionId != strconv.Itoa(t.version) {
		return nil, refuse("ConcurrentModificationException", "Update table failed due to concurrent modifications.")
	}
	if !in.SkipArchive {
		t.archived++
	}
	t.input = in.TableInput
	t.version++
	return Object{}, nil
}

// partitionsOf returns the table and refuses a batch that is too long.
func (g *Glue) partitionsOf(database, name, member string, n int) (*table, error) {
	if n > maxBatch || n == 0 {
		return nil, refuse("InvalidInputException", "1 validation error detected: Value at '%s' failed to satisfy constraint: Member must have length less than or equal to %d", member, maxBatch)
	}
	return g.table(database, name)
}

// key returns the key of a partition's values.
func (t *table) key(values []any) (string, error) {
	keys, _ := t.input["PartitionKeys"].([]any)
	if len(values) != len(keys) {
		return "", refuse("InvalidInputException", "The number of partition keys do not match the number of partition values")
	}
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i], _ = v.(string)
	}
	return strings.Join(texts, "/"), nil
}

func entryError(values []any, code, message string) Object {
	return Object{"PartitionValues": values, "ErrorDetail": Object{"ErrorCode": code, "ErrorMessage": message}}
}

func (g *Glue) createPartitions(in struct {
	CatalogId, DatabaseName, TableName string
	PartitionInputList                 []Object
},
) (any, error) {
	t, err := g.partitionsOf(in.DatabaseName, in.TableName, "partitionInputList", len(in.PartitionInputList))
	if err != nil {
		return nil, err
	}
	failed := []Object{}
	for _, p := range in.PartitionInputList {
		values, _ := p["Values"].([]any)
		key, err := t.key(values)
		if err != nil {
			return nil, err
		}
		switch code := g.broken[key]; {
		case code != "":
			if !g.always[key] {
				delete(g.broken, key)
			}
			failed = append(failed, entryError(values, code, "said by the catalog"))
		case t.partitions[key] != nil:
			failed = append(failed, entryError(values, "AlreadyExistsException", "Partition already exists."))
		default:
			t.partitions[key] = p
		}
	}
	return Object{"Errors": failed}, nil
}

func (g *Glue) updatePartitions(in struct {
	CatalogId, DatabaseName, TableName string
	Entries                            []struct {
		PartitionValueList []any
		PartitionInput     Object
	}
},
) (any, error) {
	t, err := g.partitionsOf(in.DatabaseName, in.TableName, "entries", len(in.Entries))
	if err != nil {
		return nil, err
	}
	failed := []Object{}
	for _, e := range in.Entries {
		key, err := t.key(e.PartitionValueList)
		if err != nil {
			return nil, err
		}
		if t.partitions[key] == nil {
			failed = append(failed, entryError(e.PartitionValueList, "EntityNotFoundException", "Partition not found."))
			continue
		}
		t.partitions[key] = e.PartitionInput
	}
	return Object{"Errors": failed}, nil
}

func (g *Glue) getPartitions(in struct {
	CatalogId, DatabaseName, TableName string
	PartitionsToGet                    []struct{ Values []any }
},
) (any, error) {
	if n := len(in.PartitionsToGet); n > 1000 {
		return nil, refuse("InvalidInputException", "1 validation error detected: Value at 'partitionsToGet' failed to satisfy constraint: Member must have length less than or equal to 1000")
	}
	t, err := g.table(in.DatabaseName, in.TableName)
	if err != nil {
		return nil, err
	}
	found := []Object{}
	for _, p := range in.PartitionsToGet {
		key, err := t.key(p.Values)
		if err != nil {
			return nil, err
		}
		if got := t.partitions[key]; got != nil {
			found = append(found, got)
		}
	}
	return Object{"Partitions": found, "UnprocessedKeys": []Object{}}, nil
}

var _ http.Handler = (*Glue)(nil)
