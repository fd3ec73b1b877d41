package snowflake

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/snowflakedb/gosnowflake/v2"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/protocol"
)

func TestKeepsNumber(t *testing.T) {
	for number, want := range map[string]bool{
		"99999999999999999999999999999999999999": true, "-99999999999999999999999999999999999999": true, "123456789012345678901234567890123456789": false,
		"0.12345678901234567890123456789012345678": false, "0.1234567890123456789012345678901234567": true, "1.10": true, "18446744073709551616": true,
		"1e400": false, "1e21": true, "1e-400": false, "0.1234567890123456789e1": false,
	} {
		if got := keepsNumber([]byte(number)); got != want {
			t.Errorf("%s: %v, want %v", number, got, want)
		}
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]string{"analytics": `"ANALYTICS"`, "A$1": `"A$1"`, `"my ""x"""`: `"my ""x"""`} {
		if got := identifier(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if got := literal(`a'b\c`); got != `'a''b\\c'` {
		t.Errorf("literal %s", got)
	}
	// A location is a prefix.
	run := sdk.Run{Stream: sdk.Events, PipelineID: "k7", Number: 1, Fence: 2, Content: "0123456789ab"}
	if got := attemptDir(run); got != "events/k7/00000001_00000002_01234567/" {
		t.Errorf("directory %s", got)
	}
}

// Directories of older fences are removed, those of the run, of later ones and of other
// forms are not; of other pipelines those whose files are all old.
func TestLeftovers(t *testing.T) {
	run := sdk.Run{Stream: sdk.Events, PipelineID: "k7", Number: 3, Fence: 20, Content: "0123456789ab"}
	now := time.Date(2026, 6, 10, 12, 0, 0, 0, time.UTC)
	var files []stagedFile
	add := func(age time.Duration, paths ...string) {
		for _, p := range paths {
			files = append(files, stagedFile{path: p, modified: now.Add(-age)})
		}
	}
	add(100*leftoverAge, "events/k70/00000003_00000019_aaaaaaaa/part-00001.json.gz", "people/k9/00000001_00000001_none/part-00001.json.gz", "check/PENSTOCK_CHECK_1/a.json.gz", "check/PENSTOCK_CHECK_2/a.json.gz")
	add(time.Hour, "events/k7/00000003_00000019_aaaaaaaa/part-00001.json.gz", "events/k7/00000003_00000019_aaaaaaaa/part-00002.json.gz", "events/k7/00000002_00000007_none/part-00001.json.gz",
		"people/k9/00000001_00000001_none/part-00002.json.gz", "check/PENSTOCK_CHECK_2/b.json.gz", "identity/k9/00000001_00000001_none/part-00001.json.gz")
	add(100*leftoverAge, "events/k7/00000003_00000020_01234567/part-00001.json.gz", "events/k7/00000003_00000021_01234567/part-00001.json.gz", "events/k7/notes/a.gz", "events/k7/a.gz", "a.gz",
		"events/k8/notes/a.gz", "events/k8/00000003_00000019_aaaaaaaa/sub/a.gz")
	add(leftoverAge, "events/k8/00000001_00000001_none/part-00001.json.gz")
	files = append(files, stagedFile{path: "events/k8/00000002_00000001_none/part-00001.json.gz"})
	want := []string{"events/k7/00000003_00000019_aaaaaaaa/", "events/k7/00000002_00000007_none/", "events/k70/00000003_00000019_aaaaaaaa/", "check/PENSTOCK_CHECK_1/"}
	if got := leftovers(files, run, now.Add(-leftoverAge)); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for i := range 2 * maxSwept {
		add(2*leftoverAge, fmt.Sprintf("events/old/%08d_00000001_none/part-00001.json.gz", i))
	}
	if got := leftovers(files, run, now.Add(-leftoverAge)); len(got) != maxSwept || got[0] != want[0] {
		t.Errorf("%d directories are removed at once, the first is %s", len(got), got[0])
	}
}

// The success of COPY alone means nothing: each file's counts are compared.
func TestCompareLoad(t *testing.T) {
	files := []file{{name: "part-00001.json.gz", rows: 5}, {name: "part-00002.json.gz", rows: 7}}
	answer := func(name, status, parsed, loaded string) row {
		return row{"file": "events/k7/" + name, "status": status, "rows_parsed": parsed, "rows_loaded": loaded}
	}
	first := answer("part-00001.json.gz", "LOADED", "5", "5")
	if err := compareLoad([]row{answer("part-00002.json.gz", "LOADED", "7", "7"), first}, files); err != nil {
		t.Error(err)
	}
	for name, rows := range map[string][]row{
		"one row lost":      {first, answer("part-00002.json.gz", "LOADED", "7", "6")},
		"one row too many":  {first, answer("part-00002.json.gz", "LOADED", "8", "8")},
		"partly":            {first, answer("part-00002.json.gz", "PARTIALLY_LOADED", "7", "7")},
		"a file is missing": {first},
		"a file of another": {first, answer("part-00002.json.gz", "LOADED", "7", "7"), answer("part-00003.json.gz", "LOADED", "1", "1")},
		"nothing":           {{"status": "Copy executed with 0 files processed."}},
		"no rows":           nil,
		"no counts":         {first, {"file": "part-00002.json.gz", "status": "LOADED"}},
	} {
		if err := compareLoad(rows, files); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Every file of a COPY is named, and a file with a bad row fails it.
func TestCopyStatement(t *testing.T) {
	c := config{Database: "db", Schema: "mixpanel"}
	text := c.copyStatement("MP_MASTER_EVENT_RAW", internalStageName, "events/k7/1/", []file{{name: "a.json.gz"}, {name: "b.json.gz"}})
	for _, part := range []string{
		`COPY INTO "DB"."MIXPANEL"."MP_MASTER_EVENT_RAW" FROM '@"DB"."MIXPANEL"."PENSTOCK_STAGE"/events/k7/1/'`, "FILES = ('a.json.gz', 'b.json.gz')",
		"ON_ERROR = ABORT_STATEMENT", "FORCE = TRUE", "MULTI_LINE = FALSE", "ALLOW_DUPLICATE = FALSE",
	} {
		if !strings.Contains(text, part) {
			t.Errorf("%s is not in %s", part, text)
		}
	}
	if strings.Contains(text, "CONTINUE") || strings.Contains(text, "SKIP_FILE") {
		t.Errorf("COPY drops rows: %s", text)
	}
}

// Keys as OpenSSL writes them are read with their passphrase, and each mistake names
// its attribute.
func TestParseKey(t *testing.T) {
	for _, name := range []string{"aes256", "aes128-sha1", "des3"} {
		data, err := os.ReadFile(filepath.Join("testdata", "keys", name+".pem"))
		if err != nil {
			t.Fatal(err)
		}
		if key, err := parseKey(string(data), "secret"); err != nil || key.Validate() != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, wrong := range []string{"", "Secret"} {
			if _, err := parseKey(string(data), wrong); keyAttribute(err) != "private_key_passphrase" {
				t.Errorf("%s with passphrase %q: %v of %s", name, wrong, err, keyAttribute(err))
			}
		}
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	text := pemOf(t, "PRIVATE KEY", key)
	if got, err := parseKey(text, ""); err != nil || !got.Equal(key) {
		t.Errorf("a key that is not encrypted: %v", err)
	}
	if _, err := parseKey(text, "secret"); keyAttribute(err) != "private_key_passphrase" {
		t.Errorf("a passphrase without encryption: %v", err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	scrypt, err := os.ReadFile(filepath.Join("testdata", "keys", "scrypt.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for want, text := range map[string]string{
		"not PEM": "/etc/key.p8", "must be an RSA key": pemOf(t, "PRIVATE KEY", curve), "not PBES2 with PBKDF2": string(scrypt),
		"openssl pkcs8 -topk8":  string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
		"its encryption is not": string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("damaged")})),
		"not a PKCS#8 key":      string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("damaged")})),
	} {
		passphrase := ""
		if strings.Contains(text, "ENCRYPTED") {
			passphrase = "secret"
		}
		if _, err := parseKey(text, passphrase); err == nil || keyAttribute(err) != "private_key" || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func pemOf(t *testing.T, kind string, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// Each refusal has its class, and its hint the next step.
func TestRefusals(t *testing.T) {
	s := newService(config{Account: "acme", User: "penstock", Role: "loader", Warehouse: "load", Database: "analytics", Schema: "mixpanel", Workload: "aws"}, nil, newLogins())
	for _, c := range []struct {
		number  int
		state   string
		message string
		class   protocol.Class
		hint    string
	}{
		{3001, "42501", "SQL access control error:\nInsufficient privileges to operate on schema 'MIXPANEL'", protocol.Configuration, `GRANT CREATE TABLE ON SCHEMA "ANALYTICS"."MIXPANEL" TO ROLE "LOADER"`},
		{2003, "02000", "SQL compilation error:\nSchema 'ANALYTICS.MIXPANEL' does not exist or not authorized.", protocol.Configuration, `GRANT USAGE ON SCHEMA "ANALYTICS"."MIXPANEL" TO ROLE "LOADER"`},
		{606, "57P03", "No active warehouse selected in the current session.  Select an active warehouse with the 'use warehouse' command.", protocol.Configuration, `GRANT USAGE ON WAREHOUSE "LOAD" TO ROLE "LOADER"`},
		{90073, "22000", "Warehouse 'LOAD' cannot be resumed because resource monitor 'MONTHLY' has exceeded its quota.", protocol.Configuration, "raise its quota"},
		{90064, "22000", "Warehouse 'LOAD' is suspended.", protocol.Configuration, `ALTER WAREHOUSE "LOAD" SET AUTO_RESUME = TRUE`},
		{625, "57014", "Statement 'x' has locked table 'L' in transaction 1 and this lock has not yet been released.", protocol.Retryable, ""},
		{630, "57014", "Statement reached its statement or warehouse timeout of 14,400 second(s) and was canceled.", protocol.Retryable, ""},
		{390144, "08004", "JWT token is invalid. [0ce9eb56-821d-4ca9-a774-04ae89a0cf5a]", protocol.Configuration, "SELECT SYSTEM$GET_LOGIN_FAILURE_DETAILS('0ce9eb56-821d-4ca9-a774-04ae89a0cf5a')"},
		{390144, "08004", "JWT token is invalid. [0ce9eb56-821d-4ca9-a774-04ae89a0cf5a]", protocol.Configuration, "clock differs"},
		{390100, "08004", "Incorrect username or password was specified.", protocol.Configuration, "private_key"},
		{390102, "08004", "User temporarily locked. Try again later, or contact your local system administrator.", protocol.Configuration, `ALTER USER "PENSTOCK" SET MINS_TO_UNLOCK = 0`},
		{390189, "08004", "Role 'LOADER' specified in the connect string does not exist or not authorized.", protocol.Configuration, `GRANT ROLE "LOADER" TO USER "PENSTOCK"`},
		{390318, "08004", "OAuth access token expired. [x]", protocol.Configuration, "has expired"},
		{390303, "08004", "Invalid OAuth access token. [x]", protocol.Configuration, "audience"},
		{394508, "08004", "Failed to authenticate: MFA with TOTP is required. To authenticate, provide both your password and a current TOTP passcode.", protocol.Configuration, "private_key"},
		{395092, "08004", "Network policy is required.", protocol.Configuration, "CREATE NETWORK POLICY"},
		{390422, "08004", "Incoming request with IP/Token 192.0.2.7 is not allowed to access Snowflake.", protocol.Configuration, "ALLOWED_IP_LIST"},
		{394400, "08004", "Programmatic access token is invalid.", protocol.Configuration, "ADD PROGRAMMATIC ACCESS TOKEN"},
		{394512, "08004", "No workload identity is configured for this user.", protocol.Configuration, "TYPE = AWS"},
		{1003, "42000", "SQL compilation error:\nsyntax error line 1 at position 0 unexpected 'X'.", protocol.Permanent, ""},
		{100069, "22P02", "Error parsing JSON: unterminated string", protocol.Permanent, ""},
		{390114, "08001", "Authentication token has expired.  The user must authenticate again.", protocol.Retryable, ""},
		{300002, "XX000", "Internal error.", protocol.Retryable, ""},
	} {
		err := s.classify("act", s.config.grantCreate("TABLE"), &gosnowflake.SnowflakeError{Number: c.number, SQLState: c.state, Message: c.message})
		got := new(sdk.Error)
		if !errors.As(err, &got) || got.Class != c.class || !strings.Contains(got.Hint, c.hint) {
			t.Errorf("%d %s: class %v, hint %q; want %v and %q", c.number, c.message, got.Class, got.Hint, c.class, c.hint)
		}
	}
	for err, want := range map[error]protocol.Class{
		errors.New("connection reset by peer"):                                                    protocol.Retryable,
		&gosnowflake.SnowflakeError{Number: gosnowflake.ErrFailedToUploadToStage, Message: "403"}: protocol.Retryable,
	} {
		if got := new(sdk.Error); !errors.As(s.classify("act", "", err), &got) || got.Class != want {
			t.Errorf("%v: class %v, want %v", err, got.Class, want)
		}
	}
}

// A directory of a killed process is removed by the next one; that of a living one
// stays.
func TestSpool(t *testing.T) {
	base := t.TempDir()
	dead := filepath.Join(base, spoolPrefix+"dead")
	other := filepath.Join(base, "other")
	for _, dir := range []string{dead, other} {
		if err := os.MkdirAll(filepath.Join(dir, "attempt-1"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	alive := &spool{base: base}
	first, err := alive.path()
	if err != nil {
		t.Fatal(err)
	}
	second := &spool{base: base}
	if _, err := second.path(); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]bool{dead: false, other: true, first: true} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s: %v, want it to exist: %v", dir, err, want)
		}
	}
	for _, s := range []*spool{alive, second} {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}
	left, err := os.ReadDir(base)
	if err != nil || len(left) != 1 {
		t.Errorf("%v is left: %v", left, err)
	}
	got := new(sdk.Error)
	if _, err := (&spool{base: filepath.Join(base, "missing")}).path(); !errors.As(err, &got) || got.Class != protocol.Configuration {
		t.Errorf("a directory that does not exist: %v", err)
	}
}

func TestEnvironment(t *testing.T) {
	for _, name := range []string{"AWS_WEB_IDENTITY_TOKEN_FILE", "GOOGLE_APPLICATION_CREDENTIALS", "IDENTITY_ENDPOINT", "IDENTITY_HEADER"} {
		if !slices.ContainsFunc(Plugin().Environment, func(entry string) bool { return protocol.MatchesEnvironment(entry, name) }) {
			t.Errorf("%s is not declared", name)
		}
	}
}

// The credential for a stage in Azure or Google Cloud Storage is in the URL that the
// driver's errors quote.
func TestErrorsShowNoCredentialOfAStage(t *testing.T) {
	cause := &url.Error{Op: "Put", URL: "https://acct.blob.core.windows.net/stages/part-00001.json.gz?sv=2024&sig=SECRET%2Bx", Err: io.ErrUnexpectedEOF}
	d := &service{}
	err := d.classify("upload part-00001.json.gz", "", (&session{}).failed(fmt.Errorf("errors during file upload:\n%w, retried", cause)))
	if text := fmt.Sprint(err); strings.Contains(text, "SECRET") || !strings.Contains(text, "/stages/part-00001.json.gz") || !strings.Contains(text, "retried") {
		t.Errorf("the error is %s", text)
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) || protocol.ClassOf(err) != protocol.Retryable {
		t.Errorf("the error is %#v", err)
	}
}
