package snowflake

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/s3bucket"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/protocol"
	"github.com/penstock-io/penstock/test/standin"
	"github.com/penstock-io/penstock/test/standin/faultproxy"
)

// outsideBucket is the bucket of external stages.
const outsideBucket = "outside"

// outside is a warehouse with the integration LAKE over a bucket, and the server of the
// bucket behind a proxy.
type outside struct {
	*warehouse
	bucket *faultproxy.Proxy
}

func startOutside(t *testing.T) *outside {
	t.Helper()
	files := standin.StartS3TLS(t, "stages", outsideBucket, "elsewhere")
	o := &outside{newWarehouse(t, standin.SnowflakeOptions{Stages: files}), faultproxy.Start(t, files.Endpoint)}
	o.SQL("CREATE STORAGE INTEGRATION LAKE TYPE = EXTERNAL_STAGE STORAGE_PROVIDER = 'S3' ENABLED = TRUE STORAGE_AWS_ROLE_ARN = 'arn:aws:iam::123456789012:role/snowflake' STORAGE_ALLOWED_LOCATIONS = ('s3://"+outsideBucket+"/')",
		"GRANT USAGE ON INTEGRATION LAKE TO ROLE "+o.Role)
	return o
}

// config returns a configuration with a schema and a place in the bucket of its own.
func (o *outside) config() map[string]any {
	c := o.warehouse.config()
	maps.Copy(c, map[string]any{
		"storage_integration": "lake", "stage_url": "s3://" + outsideBucket + "/" + c["schema"].(string), "stage_endpoint": o.bucket.URL, "stage_region": "us-east-1",
		"stage_access_key_id": o.Stages.AccessKey, "stage_secret_access_key": o.Stages.SecretKey, "stage_encryption": "none", "stage_checksums": "crc32",
	})
	return c
}

// objects returns the names of the objects in the place of a configuration.
func (o *outside) objects(t *testing.T, config map[string]any) []string {
	t.Helper()
	root := filepath.Join(o.Stages.Dir, outsideBucket, config["schema"].(string))
	var names []string
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err = filepath.Rel(root, name)
		names = append(names, name)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return names
}

// Runs over an external stage: the plugin uploads the files itself, Snowflake copies
// them, and nothing stays in the bucket, neither of these runs nor of killed attempts.
func TestExternalStage(t *testing.T) {
	o := startOutside(t)
	config := o.config()
	one, two := events("one", "2026-06-01", "2026-06-02"), events("two", "2026-06-01")
	runOne(t, config, testRun(sdk.Events, 1, 1), one)
	killed := openAt(t, config)
	if _, err := export(t.Context(), killed, testRun(sdk.Events, 2, 2), two); err != nil {
		t.Fatal(err)
	}
	if left := o.objects(t, config); len(left) != 1 || !strings.HasPrefix(left[0], "7/events/k7q2m9x4/00000002_00000002_") {
		t.Errorf("before the commit the bucket holds %q", left)
	}
	unfinished := o.beginUpload(t, killed, testRun(sdk.Events, 2, 2))
	runOne(t, config, testRun(sdk.Events, 2, 3), two)
	if err := unfinished.Finish(t.Context()); !errors.Is(err, lake.ErrAborted) {
		t.Errorf("the upload of a killed attempt can still be finished: %v", err)
	}
	want := one.want()
	want["2026-06-01"] = append(want["2026-06-01"], two.want()["2026-06-01"]...)
	o.expect(t, config, sdk.Events, want)
	runOne(t, config, testRun(sdk.People, 1, 1), people("a", 7))
	runOne(t, config, testRun(sdk.People, 2, 2), people("b", 3))
	o.expect(t, config, sdk.People, people("b", 3).want())
	o.checkStatements(t)
	if left := o.objects(t, config); len(left) > 0 {
		t.Errorf("the bucket holds %q", left)
	}
	statements, _ := o.Statements()
	for _, s := range statements {
		if strings.HasPrefix(s.Text, "PUT") || strings.HasPrefix(s.Text, "REMOVE") {
			t.Errorf("an external stage has no %s", s.Text)
		}
	}
}

// beginUpload begins an upload of an attempt's that is so large that it has parts.
func (o *outside) beginUpload(t *testing.T, d *destination, run sdk.Run) lake.Upload {
	t.Helper()
	s := d.stage.(*externalStage)
	u, err := s.store.Create(t.Context(), s.base+attemptDir(run)+partName(2), lake.Attempt{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write(make([]byte, 6<<20)); err != nil {
		t.Fatal(err)
	}
	return u
}

// Each request to the bucket, and each statement about the stage, meets a connection that
// is cut before it arrives, and one whose answer is lost. The run is there once, and
// nothing stays in the bucket.
func TestEachRequestOfAnExternalStageMayBeLost(t *testing.T) {
	if testing.Short() {
		t.Skip("half a minute of the driver's pauses")
	}
	o := startOutside(t)
	config := o.config()
	c := events("one", "2026-06-01")
	service := faultproxy.Start(t, o.URL)
	service.KeepBodies()
	config["endpoint"] = service.URL
	runOne(t, config, testRun(sdk.Events, 1, 1), c)
	type place struct {
		match faultproxy.Match
		nth   int
		what  string
	}
	var places []place
	for i, r := range o.bucket.Requests(faultproxy.Match{}) {
		places = append(places, place{faultproxy.Match{}, i + 1, "bucket: " + r.Method})
	}
	if len(places) < 4 {
		t.Fatalf("a run makes %d requests to the bucket", len(places))
	}
	queries := faultproxy.Match{Path: "/query-request"}
	for i, r := range service.Requests(queries) {
		var q struct {
			Text string `json:"sqlText"`
		}
		if err := json.Unmarshal(r.Body, &q); err != nil {
			t.Fatal(err)
		}
		if word, _, _ := strings.Cut(q.Text, " "); word == "COPY" || word == "LIST" || strings.HasPrefix(q.Text, "CREATE STAGE") {
			places = append(places, place{queries, i + 1, word})
		}
	}
	for _, p := range places {
		for name, fault := range map[string]faultproxy.Fault{"cut before": faultproxy.CutBefore(), "lost answer": faultproxy.LoseAnswer()} {
			t.Run(fmt.Sprintf("%s %d %s", p.what, p.nth, name), func(t *testing.T) {
				t.Parallel()
				config := o.config()
				proxy := faultproxy.Start(t, o.Stages.Endpoint)
				config["stage_endpoint"] = proxy.URL
				if p.match.Path != "" {
					proxy = faultproxy.Start(t, o.URL)
					config["endpoint"] = proxy.URL
				}
				proxy.Add(faultproxy.Rule{Match: p.match, Nth: p.nth, Fault: fault})
				d := openAt(t, config)
				if _, err := whole(t.Context(), func() *destination { return d }, testRun(sdk.Events, 1, 1), c); err != nil {
					t.Fatal(err)
				}
				o.expect(t, config, sdk.Events, c.want())
				if left := o.objects(t, config); len(left) > 0 {
					t.Errorf("the bucket holds %q", left)
				}
			})
		}
	}
}

// S6: a stage that reads another place than the one that files are uploaded to is a
// mistake in the configuration, and no run of zero rows; so is an integration that does
// not allow the place, or that the role may not use.
func TestAnExternalStageOfAnotherPlace(t *testing.T) {
	o := startOutside(t)
	c := events("one", "2026-06-01")
	refused := func(config map[string]any, text, hint string) {
		t.Helper()
		before, _ := o.Statements()
		_, err := export(t.Context(), openAt(t, config), testRun(sdk.Events, 1, 1), c)
		got := new(sdk.Error)
		if !errors.As(err, &got) || got.Class != protocol.Configuration || !strings.Contains(err.Error(), text) || !strings.Contains(got.Hint, hint) {
			t.Errorf("the error is %v, its hint %q; want %q and %q", err, got.Hint, text, hint)
		}
		after, _ := o.Statements()
		if slices.ContainsFunc(after[len(before):], func(s standin.SnowflakeStatement) bool { return strings.HasPrefix(s.Text, "COPY") }) {
			t.Error("files were copied")
		}
		if found := fmt.Sprint(failed(openAt(t, config).Check(t.Context()))); !strings.Contains(found, hint) {
			t.Errorf("the check says %s, and not %s", found, hint)
		}
	}
	t.Run("the stage's URL", func(t *testing.T) {
		config := o.config()
		runOne(t, config, testRun(sdk.Events, 1, 1), c)
		config["stage_url"] = config["stage_url"].(string) + "/more"
		refused(config, `/7/", and files are uploaded to`, "DROP STAGE")
	})
	t.Run("the bucket is at another server", func(t *testing.T) {
		config := o.config()
		config["stage_endpoint"] = standin.StartS3(t, outsideBucket).Endpoint
		refused(config, "sees none of the 1 files", "compare stage_url and stage_endpoint")
	})
	t.Run("the integration does not allow it", func(t *testing.T) {
		config := o.config()
		config["stage_url"] = "s3://elsewhere/a"
		refused(config, "is not allowed by integration", "SET STORAGE_ALLOWED_LOCATIONS = (<those it has>, 's3://elsewhere/a/')")
	})
	t.Run("the role may not use the integration", func(t *testing.T) {
		o.SQL("REVOKE USAGE ON INTEGRATION LAKE FROM ROLE " + o.Role)
		defer o.SQL("GRANT USAGE ON INTEGRATION LAKE TO ROLE " + o.Role)
		refused(o.config(), "create stage", `GRANT USAGE ON INTEGRATION "LAKE" TO ROLE`)
	})
}

// S7: the bucket refuses a part: the run fails before COPY, with the attribute's name.
func TestTheBucketRefusesAPart(t *testing.T) {
	o := startOutside(t)
	config := o.config()
	o.bucket.Add(faultproxy.Rule{
		Match: faultproxy.Match{Method: http.MethodPut}, Times: -1,
		Fault: faultproxy.Answer(http.StatusForbidden, http.Header{"Content-Type": {"application/xml"}}, `<?xml version="1.0"?><Error><Code>InvalidAccessKeyId</Code><Message>unknown key</Message></Error>`),
	})
	_, err := export(t.Context(), openAt(t, config), testRun(sdk.Events, 1, 1), events("one", "2026-06-01"))
	got := new(sdk.Error)
	if !errors.As(err, &got) || got.Class != protocol.Configuration || !strings.Contains(got.Hint, "stage_access_key_id, stage_secret_access_key") {
		t.Errorf("the export ends with %v, hint %q", err, got.Hint)
	}
	statements, _ := o.Statements()
	for _, s := range statements {
		if strings.HasPrefix(s.Text, "COPY") {
			t.Errorf("after a failed upload: %s", s.Text)
		}
	}
	if found := failed(openAt(t, config).Check(t.Context())); !strings.Contains(found["upload a file"], "stage_access_key_id") {
		t.Errorf("the check says %v", found)
	}
}

func TestCheckOfAnExternalStage(t *testing.T) {
	o := startOutside(t)
	config := o.config()
	for range 2 {
		if found := failed(openAt(t, config).Check(t.Context())); len(found) > 0 {
			t.Errorf("a good configuration: %v", found)
		}
		if left := o.objects(t, config); len(left) > 0 {
			t.Errorf("the check leaves %q", left)
		}
		runOne(t, config, testRun(sdk.Events, 1, 1), events("one", "2026-06-01")) // the second check finds the stage
	}
}

// A check whose bucket does not answer says so, and leaves no object behind, also when the
// host gives it up.
func TestCheckOfASilentBucket(t *testing.T) {
	o := startOutside(t)
	left := func(config map[string]any) (names []any) {
		t.Helper()
		for _, kind := range []string{"TABLES", "VIEWS", "STAGES"} {
			rows, err := o.query(t.Context(), "SHOW "+kind+" LIKE '"+checkPrefix+"%' IN SCHEMA "+o.Database+"."+config["schema"].(string))
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rows {
				names = append(names, kind, r[1])
			}
		}
		return names
	}
	held := make(chan struct{}, 1)
	o.bucket.Add(faultproxy.Rule{Fault: faultproxy.HoldOne(held, nil)}, faultproxy.Rule{Times: -1, Fault: faultproxy.Hang(), Optional: true})
	config := o.config()
	ctx, giveUp := context.WithCancel(t.Context())
	d, ended := openAt(t, config), make(chan []sdk.CheckResult, 1)
	go func() { ended <- d.Check(ctx) }()
	<-held
	giveUp()
	results := <-ended
	if names := left(config); len(names) > 0 {
		t.Errorf("a check that was given up leaves %q: %v", names, results)
	}
	config = o.config()
	found := failed(openAt(t, config, func(d *destination) { d.putFor = 100 * time.Millisecond }).Check(t.Context()))
	if len(found) != 1 || !strings.Contains(found["upload a file"], errPutTime.Error()) {
		t.Errorf("the check says %v", found)
	}
	if names := left(config); len(names) > 0 {
		t.Errorf("the check leaves %q", names)
	}
}

// The mistakes in the attributes of an external stage are found without a network.
func TestMistakesOfAnExternalStage(t *testing.T) {
	for name, tt := range map[string]struct {
		e    external
		want []string
	}{
		"good":                {external{URL: "s3://acme-stage/penstock/", Integration: "LAKE"}, nil},
		"the bucket alone":    {external{URL: "s3://acme-stage", Integration: "LAKE"}, nil},
		"China":               {external{URL: "s3china://acme-stage/a", Integration: "LAKE", Region: "cn-north-1"}, nil},
		"no URL":              {external{Integration: "LAKE"}, []string{"stage_url"}},
		"no integration":      {external{URL: "s3://acme-stage/"}, []string{"storage_integration"}},
		"another cloud":       {external{URL: "gcs://acme-stage/", Integration: "LAKE"}, []string{"stage_url"}},
		"Azure":               {external{URL: "azure://acme.blob.core.windows.net/stage/", Integration: "LAKE"}, []string{"stage_url"}},
		"no URL at all":       {external{URL: "acme-stage/penstock", Integration: "LAKE"}, []string{"stage_url"}},
		"a query":             {external{URL: "s3://acme-stage/?a=b", Integration: "LAKE"}, []string{"stage_url"}},
		"a quote":             {external{URL: "s3://acme-stage/a'b", Integration: "LAKE"}, []string{"stage_url"}},
		"a double slash":      {external{URL: "s3://acme-stage/a//b", Integration: "LAKE"}, []string{"stage_url"}},
		"not a name":          {external{URL: "s3://acme-stage/", Integration: "a b"}, []string{"storage_integration"}},
		"half a key":          {external{URL: "s3://acme-stage/", Integration: "LAKE", AccessKeyID: "a"}, []string{"stage_secret_access_key"}},
		"a key without stage": {external{AccessKeyID: "a", SecretAccessKey: "b"}, []string{"stage_access_key_id", "stage_secret_access_key"}},
	} {
		m := &mistakes{}
		tt.e.check(m)
		var got []string
		for _, d := range m.found {
			got = append(got, d.Attribute)
			if strings.Contains(d.Detail, "%!") {
				t.Errorf("%s: %s", name, d.Detail)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: mistakes in %q, want %q", name, got, tt.want)
		}
	}
}

// Every attribute of a bucket has its counterpart, and arrives in the bucket's
// configuration.
func TestAttributesOfAnExternalStage(t *testing.T) {
	values := map[string]any{"stage_url": "s3://acme-stage/a/b"}
	for _, a := range s3bucket.Attributes("bucket", "prefix", "format") {
		if values[bucketPrefix+a.Name] = "v-" + a.Name; a.Name == "path_style" {
			values[bucketPrefix+a.Name] = true
		}
	}
	data, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	var c config
	if err := (sdk.Config{JSON: data}).Decode(&c); err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(c.bucket())
	if err != nil {
		t.Fatal(err)
	}
	var bucket map[string]any
	if err := json.Unmarshal(got, &bucket); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"bucket": "acme-stage", "prefix": "a/b", "format": ""}
	for name, v := range values {
		if name != "stage_url" {
			want[strings.TrimPrefix(name, bucketPrefix)] = v
		}
	}
	if !maps.Equal(bucket, want) {
		t.Errorf("the bucket has %v, want %v", bucket, want)
	}
}

// Files that other pipelines and checks have left are removed after a week, from either
// kind of stage; younger ones stay.
func TestLeftoversOfPipelinesThatRunNoMore(t *testing.T) {
	o := startOutside(t)
	for name, config := range map[string]map[string]any{"internal": o.warehouse.config(), "external": o.config()} {
		t.Run(name, func(t *testing.T) {
			staged := func() int {
				if name == "internal" {
					return len(o.staged(t, config))
				}
				return len(o.objects(t, config))
			}
			gone := testRun(sdk.People, 1, 1)
			gone.PipelineID = "gone"
			d := openAt(t, config)
			if _, err := export(t.Context(), d, gone, people("a", 3)); err != nil {
				t.Fatal(err)
			}
			runOne(t, config, testRun(sdk.Events, 1, 1), events("one", "2026-06-01"))
			if n := staged(); n != 1 {
				t.Errorf("%d files are in the stage, of a pipeline that may still commit", n)
			}
			later := func(d *destination) {
				now := d.now
				d.now = func() time.Time { return now().Add(leftoverAge + 1) }
			}
			last := openAt(t, config, later)
			c := events("two", "2026-06-02")
			if n, err := whole(t.Context(), func() *destination { return last }, testRun(sdk.Events, 2, 2), c); err != nil || n != 1 {
				t.Fatal(n, err)
			}
			if n := staged(); n != 0 {
				t.Errorf("%d files are left in the stage", n)
			}
			// The pipeline is there after all: its commit fails, and the run is exported again.
			if err := d.Commit(context.WithoutCancel(t.Context()), gone, sdk.Receipt{}); protocol.ClassOf(err) != protocol.Retryable {
				t.Errorf("the commit of removed files: %v", err)
			}
			gone.Fence++
			runOne(t, config, gone, people("a", 3))
			o.expect(t, config, sdk.People, people("a", 3).want())
		})
	}
}

// The SQL that setup prints, run by an administrator, grants all that an export over an
// external stage needs.
func TestTheScriptOfAnExternalStage(t *testing.T) {
	o := startOutside(t)
	config := o.config()
	maps.Copy(config, map[string]any{"user": "LOADER", "role": "LOADER_ROLE", "warehouse": "LOADER_WH", "database": "LOADED", "schema": "MIXPANEL", "storage_integration": "LOADER_S3", "clustering": true})
	data, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	steps, err := Plugin().Setup(sdk.SetupRequest{Projects: []sdk.Project{{ID: 7}}, Destination: "snowflake.loader", JSON: data})
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&o.Key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, s := range steps {
		_, script, found := strings.Cut(s.Text, "<<SQL\n")
		if !found {
			continue
		}
		script = strings.NewReplacer("$KEY", base64.StdEncoding.EncodeToString(public), "$ACCOUNT", "123456789012").Replace(strings.TrimSuffix(script, "SQL\n"))
		for line := range strings.Lines(script) {
			if strings.HasPrefix(line, "DESC INTEGRATION") || strings.HasPrefix(line, "USE ROLE") {
				continue // the stand-in has no DESC INTEGRATION, and gives these roles no rights
			}
			o.SQL(strings.TrimSuffix(line, ";\n"))
			ran++
		}
	}
	if ran < 10 {
		t.Fatalf("the script has %d statements", ran)
	}
	if found := failed(openAt(t, config).Check(t.Context())); len(found) > 0 {
		t.Errorf("the check after the setup: %v", found)
	}
	c := events("one", "2026-06-01")
	runOne(t, config, testRun(sdk.Events, 1, 1), c)
	if left := o.objects(t, config); len(left) > 0 {
		t.Errorf("the bucket holds %q", left)
	}
}
