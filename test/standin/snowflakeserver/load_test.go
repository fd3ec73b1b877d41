package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/test/standin"
	"github.com/penstock-io/penstock/test/standin/gcsserver"
)

const copyInto = "COPY INTO RAW FROM @STAGE/run-1/ FILES = ('p.json.gz') " + jsonFormat

// Load metadata hides a file for 64 days, also one whose COPY was committed elsewhere;
// one that was rolled back is loaded again (user-guide/data-load-considerations-load).
func TestLoadMetadata(t *testing.T) {
	s := standin.StartSnowflake(t, standin.SnowflakeOptions{})
	c := furnish(t, s)
	put(t, c, part(t, "p.json.gz", `{"a":1}`), "@STAGE/run-1/")
	const none = "Copy executed with 0 files processed."
	load := func(want string) {
		t.Helper()
		got := single(t, c, copyInto)
		if !strings.Contains(got, want) {
			t.Errorf("COPY: %s, want %s", got, want)
		}
	}
	exec_(t, c, "BEGIN")
	load("LOADED|1|1")
	exec_(t, c, "ROLLBACK")
	load("LOADED|1|1")
	load(none)
	if got := single(t, c, copyInto+" FORCE = TRUE"); !strings.Contains(got, "LOADED|1|1") {
		t.Errorf("COPY with FORCE: %s", got)
	}
	if got := single(t, c, "SELECT COUNT(*) FROM RAW"); got != "2" {
		t.Errorf("%s rows, want 2", got)
	}
	put(t, c, part(t, "p.json.gz", `{"a":1}`), "@STAGE/run-1/") // another key, another ETag
	load("LOADED|1|1")
	s.Advance(65 * 24 * time.Hour)
	load(none)
	if got := single(t, c, copyInto+" LOAD_UNCERTAIN_FILES = TRUE"); !strings.Contains(got, "LOADED|1|1") {
		t.Errorf("COPY with LOAD_UNCERTAIN_FILES: %s", got)
	}
}

// A path is a prefix: run-1 is run-10 too, unless it ends in a slash
// (sql-reference/sql/copy-into-table).
func TestPathsArePrefixes(t *testing.T) {
	s := standin.StartSnowflake(t, standin.SnowflakeOptions{})
	c := furnish(t, s)
	put(t, c, part(t, "p.json.gz", `{"run":1}`), "@STAGE/run-1/")
	put(t, c, part(t, "p.json.gz", `{"run":10}`), "@STAGE/run-10/")
	for path, want := range map[string]int{"run-1": 2, "run-1/": 1, "run-10": 1, "run-2/": 0} {
		if got := len(rows(t, c, "LIST @STAGE/"+path)); got != want {
			t.Errorf("LIST of %s: %d files, want %d", path, got, want)
		}
	}
	if got := rows(t, c, "COPY INTO RAW FROM @STAGE/run-1 "+jsonFormat); len(got) != 2 {
		t.Errorf("COPY from run-1: %q", got)
	}
	if got := rows(t, c, "REMOVE @STAGE/run-1/"); len(got) != 1 || got[0] != "stage/run-1/p.json.gz|removed" {
		t.Errorf("REMOVE: %q", got)
	}
	if got := single(t, c, "COPY INTO RAW FROM @STAGE/run-1/ "+jsonFormat); got != "Copy executed with 0 files processed." {
		t.Errorf("COPY of nothing: %s", got)
	}
}

// An existing file is SKIPPED without OVERWRITE (sql-reference/sql/put).
func TestPutSkipsWhatIsThere(t *testing.T) {
	s := standin.StartSnowflake(t, standin.SnowflakeOptions{})
	c := furnish(t, s)
	path := part(t, "p.json.gz", `{"a":1}`)
	put(t, c, path, "@STAGE/run-1/")
	if got := strings.Join(rows(t, c, "PUT 'file://"+path+"' @STAGE/run-1/ AUTO_COMPRESS = FALSE"), ""); !strings.Contains(got, "SKIPPED") {
		t.Errorf("the second PUT: %s", got)
	}
	list := rows(t, c, "LIST @STAGE/")
	if len(list) != 1 || !strings.HasPrefix(list[0], "stage/run-1/p.json.gz|") {
		t.Errorf("LIST: %q", list)
	}
}

// Rows that are refused: sql-reference/sql/copy-into-table and
// sql-reference/data-types-semistructured.
func TestRowsThatAreRefused(t *testing.T) {
	s := standin.StartSnowflake(t, standin.SnowflakeOptions{})
	c := furnish(t, s)
	s.LimitVariant(1 << 20)
	for name, x := range map[string]struct {
		row, options string
		code         int
		text         string
	}{
		"duplicate name":         {`{"a":1,"a":2}`, "", 100069, `Error parsing JSON: duplicate object attribute "a"`},
		"invalid UTF-8":          {"{\"a\":\"\xff\"}", "", 100144, "Invalid UTF8 detected in string"},
		"lone surrogate":         {`{"a":"\ud83d"}`, "", 100069, "unpaired surrogate"},
		"truncated document":     {`{"a":1`, "", 100069, "Error parsing JSON"},
		"two documents in a row": {`{"a":1} {"b":2}`, "", 100069, "more than one document in the input"},
		"document over lines":    {"{\"a\":\n1}", "", 100069, "Error parsing JSON"},
		"too large":              {`{"a":"` + strings.Repeat("x", 1<<20) + `"}`, "", 100082, "Max LOB size (1048576) exceeded"},
		"single quotes":          {`{'a':1}`, "", 100069, "missing object attribute name"},
		"leading zero":           {`{"a":01}`, "", 100069, "malformed number"},
	} {
		t.Run(name, func(t *testing.T) {
			put(t, c, part(t, "p.json.gz", `{"good":1}`, x.row), "@STAGE/run-1/")
			_, err := c.QueryContext(t.Context(), copyInto+" FORCE = TRUE")
			f := failure(t, err)
			if f.Number != x.code || !strings.Contains(f.Message, x.text) || !strings.Contains(f.Message, "File 'stage/run-1/p.json.gz'") {
				t.Errorf("refused with %v, want %d with %q", f, x.code, x.text)
			}
			if got := single(t, c, "SELECT COUNT(*) FROM RAW"); got != "0" {
				t.Errorf("%s rows of a refused file", got)
			}
		})
	}
	put(t, c, part(t, "p.json.gz", `{"a":1}`, `{"a":`, `{"a":3}`), "@STAGE/run-1/")
	if got := single(t, c, copyInto+" ON_ERROR = CONTINUE"); !strings.HasPrefix(got, "stage/run-1/p.json.gz|PARTIALLY_LOADED|3|2|1|1|Error parsing JSON") {
		t.Errorf("COPY with CONTINUE: %s", got)
	}
	put(t, c, part(t, "p.json.gz", `{"a":1}`, `{"a":`), "@STAGE/run-1/")
	if got := single(t, c, copyInto+" ON_ERROR = SKIP_FILE"); !strings.HasPrefix(got, "stage/run-1/p.json.gz|LOAD_FAILED|2|0|") {
		t.Errorf("COPY with SKIP_FILE: %s", got)
	}
	if got := single(t, c, "SELECT COUNT(*) FROM RAW"); got != "2" {
		t.Errorf("%s rows, want 2", got)
	}
}

// Values are kept as VARIANT keeps them (sql-reference/data-types-semistructured).
func TestVariantsAreCanonical(t *testing.T) {
	s := standin.StartSnowflake(t, standin.SnowflakeOptions{})
	c := furnish(t, s)
	put(t, c, part(t, "p.json.gz", `{"z":1,"a":{"k":[null,true,1.50,-0,12345678901234567890123456789012345678]},"s":"a\"\\\u00e9\n","n":null,"big":123456789012345678901234567890123456789}`), "@STAGE/run-1/")
	single(t, c, copyInto)
	exec_(t, c, "ALTER SESSION SET JSON_INDENT = 0")
	for query, want := range map[string]string{
		"SELECT DATA FROM RAW": `{"a":{"k":[null,true,1.5,0,12345678901234567890123456789012345678]},"big":1.234567890123457e+38,"n":null,"s":"a\"\\é\n","z":1}`,
		"SELECT DATA:a.k[2]::NUMBER(10,1), DATA['z']::VARCHAR, DATA:s::STRING, DATA:missing, DATA:n, DATA:n::VARCHAR, DATA:a.k[9] FROM RAW": "1.5|1|a\"\\é\n|NULL|null|NULL|NULL",
		"SELECT TYPEOF(DATA:a), TYPEOF(DATA:z), TYPEOF(DATA:n), ARRAY_SIZE(DATA:a.k), IS_NULL_VALUE(DATA:n) FROM RAW":                       "OBJECT|INTEGER|NULL_VALUE|5|1",
		"SELECT f.index, f.value FROM RAW, LATERAL FLATTEN(input => DATA:a.k) f WHERE f.index = 1":                                          "1|true",
	} {
		if got := single(t, c, query); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
}

// An INSERT OVERWRITE is DML: readers see the old rows until COMMIT
// (sql-reference/sql/insert).
func TestInsertOverwriteIsTransactional(t *testing.T) {
	s := standin.StartSnowflake(t, standin.SnowflakeOptions{})
	c, other := furnish(t, s), session(t, s)
	exec_(t, c, "INSERT INTO LEDGER VALUES (1, 1), (2, 1)", "CREATE TABLE INCOMING AS SELECT * FROM LEDGER", "BEGIN", "INSERT OVERWRITE INTO LEDGER SELECT ID + 10, FENCE FROM INCOMING")
	if got := strings.Join(rows(t, other, "SELECT ID FROM LEDGER ORDER BY ID"), " "); got != "1 2" {
		t.Errorf("a reader sees %s before COMMIT", got)
	}
	if got := strings.Join(rows(t, c, "SELECT ID FROM LEDGER ORDER BY ID"), " "); got != "11 12" {
		t.Errorf("the transaction sees %s of its own", got)
	}
	exec_(t, c, "ROLLBACK", "BEGIN", "INSERT OVERWRITE INTO LEDGER SELECT ID + 20, FENCE FROM INCOMING", "COMMIT")
	if got := strings.Join(rows(t, other, "SELECT ID FROM LEDGER ORDER BY ID"), " "); got != "21 22" {
		t.Errorf("a reader sees %s after COMMIT", got)
	}
}

// An external stage reads below its URL, which the integration must allow. A path without
// files loads nothing (sql-reference/sql/create-stage).
func TestExternalStages(t *testing.T) {
	stages := standin.StartS3TLS(t, "stages", "lake")
	s := standin.StartSnowflake(t, standin.SnowflakeOptions{Stages: stages})
	c := furnish(t, s)
	source, err := os.ReadFile(part(t, "p.json.gz", `{"a":1}`, `{"a":2}`))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(stages.Dir, "lake", "exports", "run-1")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "p.json.gz"), source, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := single(t, c, "COPY INTO RAW FROM @LAKE_STAGE/run-1/ FILES = ('p.json.gz') "+jsonFormat); !strings.HasPrefix(got, "s3://lake/exports/run-1/p.json.gz|LOADED|2|2|") {
		t.Errorf("COPY: %s", got)
	}
	if got := single(t, c, "COPY INTO RAW FROM @LAKE_STAGE/run-2/ "+jsonFormat); got != "Copy executed with 0 files processed." {
		t.Errorf("COPY of nothing: %s", got)
	}
}

// A driver does not encrypt the files of a stage whose ENCRYPTION is SNOWFLAKE_SSE
// (sql-reference/sql/create-stage).
func TestStagesThatTheServiceEncrypts(t *testing.T) {
	s := standin.StartSnowflake(t, standin.SnowflakeOptions{})
	c := furnish(t, s)
	exec_(t, c, "CREATE STAGE PLAIN ENCRYPTION = (TYPE = 'SNOWFLAKE_SSE')", "CREATE STAGE WHOLE ENCRYPTION = (TYPE = 'SNOWFLAKE_FULL')")
	path := part(t, "p.json.gz", `{"a":1}`)
	sent, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for stage, same := range map[string]bool{"PLAIN": true, "WHOLE": false} {
		put(t, c, path, "@"+stage+"/run-1/")
		if got := strings.Split(rows(t, c, "LIST @"+stage)[0], "|")[1]; (got == strconv.Itoa(len(sent))) != same {
			t.Errorf("the file in %s has %s bytes, %d were sent", stage, got, len(sent))
		}
		if got := single(t, c, "COPY INTO RAW FROM @"+stage+"/run-1/ FILES = ('p.json.gz') "+jsonFormat); !strings.Contains(got, "LOADED|1|1") {
			t.Errorf("COPY from %s: %s", stage, got)
		}
	}
}

// External stages at other clouds read below their URLs as well, with the integration of
// the cloud. LIST and COPY name files by URL (sql-reference/sql/create-stage,
// user-guide/data-load-gcs-config, user-guide/data-load-azure-config).
func TestExternalStagesAtOtherClouds(t *testing.T) {
	cloud := &gcsserver.Server{Bucket: "lake"}
	listening := httptest.NewServer(cloud)
	t.Cleanup(listening.Close)
	azure := standin.StartAzurite(t, "lake")
	s := standin.StartSnowflake(t, standin.SnowflakeOptions{Google: listening.URL, Azure: azure})
	c := furnish(t, s)
	data, err := os.ReadFile(part(t, "p.json.gz", `{"a":1}`, `{"a":2}`))
	if err != nil {
		t.Fatal(err)
	}
	for n := range 9 { // more than a page of the server's
		name := "exports/run-1/p.json.gz"
		if n > 0 {
			name = fmt.Sprintf("exports/run-10/%d", n)
		}
		answer, err := http.Post(listening.URL+"/upload/storage/v1/b/lake/o?uploadType=multipart&name="+url.QueryEscape(name), "multipart/related; boundary=b",
			strings.NewReader("--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b\r\n\r\n"+string(data)+"\r\n--b--\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		if _ = answer.Body.Close(); answer.StatusCode != http.StatusOK {
			t.Fatal(answer.Status)
		}
		if _, err := azure.Container("lake").NewBlockBlobClient(name).UploadBuffer(t.Context(), data, nil); err != nil {
			t.Fatal(err)
		}
	}
	for name, root := range map[string]string{"GCS": "gcs://lake/", "AZURE": "azure://" + azure.Account + ".blob.core.windows.net/lake/"} {
		options := map[string]string{"AZURE": " AZURE_TENANT_ID = 'acme'"}[name]
		s.SQL("CREATE STORAGE INTEGRATION I_"+name+" TYPE = EXTERNAL_STAGE STORAGE_PROVIDER = '"+name+"' ENABLED = TRUE"+options+" STORAGE_ALLOWED_LOCATIONS = ('"+root+"')", "GRANT USAGE ON INTEGRATION I_"+name+" TO ROLE "+s.Role)
		exec_(t, c, "CREATE STAGE S_"+name+" URL = '"+root+"exports/' STORAGE_INTEGRATION = I_"+name)
		if got := rows(t, c, "LIST @S_"+name+"/run-1"); len(got) != 9 || !strings.HasPrefix(got[0], root+"exports/run-1/p.json.gz|"+strconv.Itoa(len(data))+"|") {
			t.Errorf("LIST: %q", got)
		}
		if got := single(t, c, "COPY INTO RAW FROM @S_"+name+"/run-1/ FILES = ('p.json.gz') "+jsonFormat); !strings.HasPrefix(got, root+"exports/run-1/p.json.gz|LOADED|2|2|") {
			t.Errorf("COPY: %s", got)
		}
		if got := strings.Join(rows(t, c, "DESC INTEGRATION I_"+name), " "); !strings.Contains(got, map[string]string{"GCS": "STORAGE_GCP_SERVICE_ACCOUNT|String|", "AZURE": "AZURE_CONSENT_URL|String|https://login.microsoftonline.com/acme/"}[name]) {
			t.Errorf("DESC: %s", got)
		}
	}
}
