package snowflake

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/protocol"
	"github.com/penstock-io/penstock/sdk/schema"
	"github.com/penstock-io/penstock/test/standin"
	"github.com/penstock-io/penstock/test/standin/faultproxy"
	"github.com/penstock-io/penstock/test/standin/gcsserver"
)

// outsideBucket is the bucket of external stages.
const outsideBucket = "outside"

// outside is a warehouse with the integration LAKE over a bucket at a cloud, and the
// server of the bucket behind a proxy.
type outside struct {
	*warehouse
	bucket     *faultproxy.Proxy
	server     string         // URL of the bucket's server, past the proxy
	root       string         // URL of the bucket
	attributes map[string]any // attributes of the bucket, but for its place and its server
	create     string         // options of CREATE STORAGE INTEGRATION
	// names returns the names of all objects in the bucket.
	names func() []string
	// empty starts another server, with an empty bucket of the same name, and returns its URL.
	empty func() string
}

// stageClouds are the clouds of external stages.
var stageClouds = map[string]func(*testing.T) *outside{"s3": outsideS3, "gcs": outsideGCS, "azure": outsideAzure}

// eachCloud runs a test over an external stage at each cloud.
func eachCloud(t *testing.T, test func(*testing.T, *outside)) {
	for _, name := range slices.Sorted(maps.Keys(stageClouds)) {
		t.Run(name, func(t *testing.T) { test(t, stageClouds[name](t)) })
	}
}

// startOutside is outsideS3, for tests of what is the same at all clouds.
func startOutside(t *testing.T) *outside { return outsideS3(t) }

func outsideS3(t *testing.T) *outside {
	t.Helper()
	files := standin.StartS3TLS(t, "stages", outsideBucket, "elsewhere")
	return begin(t, standin.SnowflakeOptions{Stages: files}, &outside{
		server: files.Endpoint, root: "s3://" + outsideBucket, create: "'S3' STORAGE_AWS_ROLE_ARN = 'arn:aws:iam::123456789012:role/snowflake'",
		attributes: map[string]any{
			"stage_region": "us-east-1", "stage_access_key_id": files.AccessKey, "stage_secret_access_key": files.SecretKey, "stage_encryption": "none", "stage_checksums": "crc32",
		},
		empty: func() string { return standin.StartS3(t, outsideBucket).Endpoint },
		names: func() []string { return files.Names(outsideBucket) },
	})
}

func outsideGCS(t *testing.T) *outside {
	t.Helper()
	start := func() (*gcsserver.Server, string) {
		server := &gcsserver.Server{Bucket: outsideBucket, Location: "US"}
		listening := httptest.NewServer(server)
		t.Cleanup(listening.Close)
		return server, listening.URL
	}
	server, url := start()
	return begin(t, standin.SnowflakeOptions{Google: url}, &outside{
		server: url, root: "gcs://" + outsideBucket, create: "'GCS'", names: server.Objects,
		empty: func() string { _, url := start(); return url },
	})
}

func outsideAzure(t *testing.T) *outside {
	t.Helper()
	server := standin.StartAzurite(t, outsideBucket)
	return begin(t, standin.SnowflakeOptions{Azure: server}, &outside{
		server: server.Endpoint, root: "azure://" + server.Account + ".blob.core.windows.net/" + outsideBucket, create: "'AZURE' AZURE_TENANT_ID = 'acme'",
		attributes: map[string]any{"stage_account_key": server.Key},
		names:      func() []string { return server.Names(outsideBucket) },
		empty: func() string {
			other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { accept(t, w, r) }))
			t.Cleanup(other.Close)
			return other.URL
		},
	})
}

// accept answers a request for a blob as a service that keeps nothing.
func accept(t *testing.T, w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		t.Error(err)
	}
	switch r.Method {
	case http.MethodPut:
		w.Header().Set("Etag", `"0x1"`)
		w.WriteHeader(http.StatusCreated)
	case http.MethodDelete:
		w.WriteHeader(http.StatusAccepted)
	default:
		w.Header().Set("Content-Type", "application/xml")
		fmt.Fprint(w, `<?xml version="1.0"?><EnumerationResults><Blobs></Blobs><NextMarker></NextMarker></EnumerationResults>`)
	}
}

// begin starts the warehouse of a bucket.
func begin(t *testing.T, options standin.SnowflakeOptions, o *outside) *outside {
	t.Helper()
	o.warehouse, o.bucket = newWarehouse(t, options), faultproxy.Start(t, o.server)
	o.SQL("CREATE STORAGE INTEGRATION LAKE TYPE = EXTERNAL_STAGE ENABLED = TRUE STORAGE_ALLOWED_LOCATIONS = ('"+o.root+"/') STORAGE_PROVIDER = "+o.create,
		"GRANT USAGE ON INTEGRATION LAKE TO ROLE "+o.Role)
	return o
}

// config returns a configuration with a schema and a place in the bucket of its own.
func (o *outside) config() map[string]any {
	c := o.warehouse.config()
	maps.Copy(c, o.attributes)
	maps.Copy(c, map[string]any{"storage_integration": "lake", "stage_url": o.root + "/" + c["schema"].(string), "stage_endpoint": o.bucket.URL})
	return c
}

// objects returns the names of the objects in the place of a configuration.
func (o *outside) objects(t *testing.T, config map[string]any) []string {
	t.Helper()
	folder, _ := strings.CutPrefix(config["stage_url"].(string), o.root+"/")
	var names []string
	for _, name := range o.names() {
		if name, below := strings.CutPrefix(name, strings.TrimSuffix(folder, "/")+"/"); below {
			names = append(names, name)
		}
	}
	return names
}

// Runs over an external stage: the plugin uploads the files itself, Snowflake copies
// them, and nothing stays in the bucket, neither of these runs nor of killed attempts. The
// check finds nothing wrong, before the stage exists and after it, and leaves nothing.
func TestExternalStage(t *testing.T) { eachCloud(t, testExternalStage) }

func testExternalStage(t *testing.T, o *outside) {
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
	if _, lists := killed.stage.(*externalStage).store.(lake.UploadEnder); lists {
		if err := unfinished.Finish(t.Context()); !errors.Is(err, lake.ErrAborted) {
			t.Errorf("the upload of a killed attempt can still be finished: %v", err)
		}
	} else if err := unfinished.Finish(t.Context()); err == nil {
		// The services cannot list uploads, so that one can be finished: the next run
		// removes its file.
		runOne(t, config, testRun(sdk.Events, 3, 4), events("three", "2026-06-03"))
		one["2026-06-03"] = events("three", "2026-06-03")["2026-06-03"]
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
	for _, config := range []map[string]any{config, o.config()} {
		if found := failed(openAt(t, config).Check(t.Context())); len(found) > 0 {
			t.Errorf("the check of a good configuration: %v", found)
		}
		if left := o.objects(t, config); len(left) > 0 {
			t.Errorf("the check leaves %q", left)
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
	eachCloud(t, testLostRequests)
}

func testLostRequests(t *testing.T, o *outside) {
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
	if len(places) < 3 {
		t.Fatalf("a run makes %d requests to the bucket", len(places))
	}
	queries := faultproxy.Match{Path: "/query-request"}
	for i, r := range service.Requests(queries) {
		if !strings.HasPrefix(o.root, "s3:") {
			break // the statements are the same at all clouds
		}
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
				proxy := faultproxy.Start(t, o.server)
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
func TestAnExternalStageOfAnotherPlace(t *testing.T) { eachCloud(t, testAnotherPlace) }

func testAnotherPlace(t *testing.T, o *outside) {
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
		config["stage_endpoint"] = o.empty()
		refused(config, "sees none of the 1 files", "compare stage_url and stage_endpoint")
	})
	t.Run("the integration does not allow it", func(t *testing.T) {
		config := o.config()
		config["stage_url"] = strings.Replace(o.root, outsideBucket, "elsewhere", 1) + "/a"
		refused(config, "is not allowed by integration", "SET STORAGE_ALLOWED_LOCATIONS = (<those it has>, '"+config["stage_url"].(string)+"/')")
	})
	t.Run("the role may not use the integration", func(t *testing.T) {
		o.SQL("REVOKE USAGE ON INTEGRATION LAKE FROM ROLE " + o.Role)
		defer o.SQL("GRANT USAGE ON INTEGRATION LAKE TO ROLE " + o.Role)
		refused(o.config(), "create stage", `GRANT USAGE ON INTEGRATION "LAKE" TO ROLE`)
	})
}

// S7: the bucket refuses a file: the run fails before COPY, with the attribute's name.
func TestTheBucketRefusesAFile(t *testing.T) {
	eachCloud(t, func(t *testing.T, o *outside) {
		of := map[string]struct{ method, kind, answer, hint string }{
			"s3":    {http.MethodPut, "application/xml", `<?xml version="1.0"?><Error><Code>InvalidAccessKeyId</Code><Message>unknown key</Message></Error>`, "stage_access_key_id, stage_secret_access_key"},
			"gcs":   {http.MethodPost, "application/json", `{"error":{"code":403,"message":"export@acme.iam.gserviceaccount.com does not have storage.objects.create access"}}`, "gcloud storage buckets add-iam-policy-binding gs://" + outsideBucket},
			"azure": {http.MethodPut, "application/xml", `<?xml version="1.0"?><Error><Code>AuthenticationFailed</Code><Message>wrong key</Message></Error>`, "stage_account_key"},
		}[strings.Split(o.root, ":")[0]]
		o.bucket.Add(faultproxy.Rule{
			Match: faultproxy.Match{Method: of.method}, Times: -1, Fault: faultproxy.Answer(http.StatusForbidden, http.Header{"Content-Type": {of.kind}}, of.answer),
		})
		config := o.config()
		_, err := export(t.Context(), openAt(t, config), testRun(sdk.Events, 1, 1), events("one", "2026-06-01"))
		got := new(sdk.Error)
		if !errors.As(err, &got) || got.Class != protocol.Configuration || !strings.Contains(got.Hint, of.hint) {
			t.Errorf("the export ends with %v, hint %q", err, got.Hint)
		}
		statements, _ := o.Statements()
		for _, s := range statements {
			if strings.HasPrefix(s.Text, "COPY") {
				t.Errorf("after a failed upload: %s", s.Text)
			}
		}
		if found := failed(openAt(t, config).Check(t.Context())); !strings.Contains(found["upload a file"], of.hint) {
			t.Errorf("the check says %v", found)
		}
	})
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
	const blob = "azure://acmestage.blob.core.windows.net/"
	at := func(url string) external { return external{URL: url, Integration: "LAKE"} }
	keyed := func(url string) external {
		e := at(url)
		e.AccountKey = "a2V5"
		return e
	}
	with := func(e external, change func(*external)) external { change(&e); return e }
	for name, tt := range map[string]struct {
		e    external
		want []string
		text string
	}{
		"good":                    {at("s3://acme-stage/penstock/"), nil, ""},
		"the bucket alone":        {at("s3://acme-stage"), nil, ""},
		"China":                   {with(at("s3china://acme-stage/a"), func(e *external) { e.Region = "cn-north-1" }), nil, ""},
		"Google":                  {at("gcs://acme-stage/penstock/"), nil, ""},
		"Google's bucket alone":   {at("gcs://acme-stage"), nil, ""},
		"Azure":                   {keyed(blob + "stage/penstock/"), nil, ""},
		"Azure's government":      {keyed("azure://acmestage.blob.core.usgovcloudapi.net/stage"), nil, ""},
		"no URL":                  {external{Integration: "LAKE"}, []string{"stage_url"}, `"azure://acmestage.blob.core.windows.net/stage/penstock/"`},
		"no integration":          {external{URL: "s3://acme-stage/"}, []string{"storage_integration"}, ""},
		"no scheme":               {at("acme-stage/penstock"), []string{"stage_url"}, `"s3://acme-stage/penstock/", "gcs://acme-stage/penstock/" or "azure://`},
		"gsutil's URL":            {at("gs://acme-stage/a"), []string{"stage_url"}, `Snowflake writes a URL at Google Cloud Storage as in "gcs://acme-stage/penstock/"`},
		"Google's https":          {at("https://storage.googleapis.com/acme-stage/a"), []string{"stage_url"}, `as in "gcs://`},
		"Azure's https":           {at("https://acmestage.blob.core.windows.net/stage"), []string{"stage_url"}, `as in "azure://`},
		"Hadoop's Azure":          {at("abfss://stage@acmestage.dfs.core.windows.net/a"), []string{"stage_url"}, `as in "azure://`},
		"Hadoop's S3":             {at("s3a://acme-stage/a"), []string{"stage_url"}, `as in "s3://`},
		"S3's https":              {at("https://acme-stage.s3.eu-west-1.amazonaws.com/a"), []string{"stage_url"}, `as in "s3://`},
		"upper case":              {at("GCS://acme-stage/a"), []string{"stage_url"}, ""},
		"Data Lake's host":        {keyed("azure://acmestage.dfs.core.windows.net/stage/a"), []string{"stage_url"}, `"azure://acmestage.blob.core.windows.net/stage/a"`},
		"no container":            {keyed(blob), []string{"stage_url"}, "the container follows the host"},
		"the account alone":       {keyed("azure://acmestage/stage"), []string{"stage_url"}, "the host is the account's blob service"},
		"Azure's server":          {keyed("azure://127.0.0.1:10000/acmestage/stage"), []string{"stage_url"}, "stage_endpoint"},
		"a container in capitals": {keyed(blob + "Stage/a"), []string{"stage_url"}, "folders follow it"},
		"Google's port":           {at("gcs://acme-stage:443/a"), []string{"stage_url"}, "stage_endpoint"},
		"Google's capitals":       {at("gcs://Acme/a"), []string{"stage_url"}, "folders follow it"},
		"a query":                 {at("s3://acme-stage/?a=b"), []string{"stage_url"}, ""},
		"a SAS in the URL":        {keyed(blob + "stage/?sv=1&sig=x"), []string{"stage_url"}, ""},
		"a user":                  {at("gcs://me@acme-stage/"), []string{"stage_url"}, ""},
		"a quote":                 {at("s3://acme-stage/a'b"), []string{"stage_url"}, ""},
		"a line break":            {at("gcs://acme-stage/a\nb"), []string{"stage_url"}, ""},
		"a percent sign":          {keyed(blob + "stage/a%20b"), []string{"stage_url"}, ""},
		"a double slash":          {at("s3://acme-stage/a//b"), []string{"stage_url"}, ""},
		"Google's double slash":   {at("gcs://acme-stage/a//b"), []string{"stage_url"}, ""},
		"Azure's dot":             {keyed(blob + "stage/a./b"), []string{"stage_url"}, ""},
		"not a name":              {external{URL: "s3://acme-stage/", Integration: "a b"}, []string{"storage_integration"}, ""},
		"half a key":              {with(at("s3://acme-stage/"), func(e *external) { e.AccessKeyID = "a" }), []string{"stage_secret_access_key"}, ""},
		"a key without stage":     {with(external{}, func(e *external) { e.AccessKeyID, e.SecretAccessKey = "a", "b" }), []string{"stage_access_key_id", "stage_secret_access_key"}, "is for an external stage at Amazon S3"},
		"a server without stage":  {external{Endpoint: "https://a"}, []string{"stage_endpoint"}, ""},
		"another cloud's key":     {with(at("gcs://acme-stage/"), func(e *external) { e.AccessKeyID, e.SecretAccessKey = "a", "b" }), []string{"stage_access_key_id", "stage_secret_access_key"}, "is for an external stage at Amazon S3"},
		"Azure's key at Google":   {keyed("gcs://acme-stage/"), []string{"stage_account_key"}, "is for an external stage at Azure"},
		"Google's key at Azure":   {with(keyed(blob+"stage"), func(e *external) { e.Credentials = "{}" }), []string{"stage_credentials"}, "Google Cloud Storage"},
		"a path for a key":        {with(at("gcs://acme-stage/"), func(e *external) { e.Credentials = "/etc/key.json" }), []string{"stage_credentials"}, "stage_credentials = file("},
		"no credentials":          {at(blob + "stage"), []string{"stage_client_secret"}, "stage_account_key or stage_sas_token"},
		"two credentials":         {with(keyed(blob+"stage"), func(e *external) { e.ManagedIdentity = true }), []string{"stage_account_key"}, "managed_identity"},
		"Azure without TLS":       {with(at(blob+"stage"), func(e *external) { e.ManagedIdentity, e.Endpoint = true, "http://127.0.0.1:1" }), []string{"stage_endpoint"}, "change stage_endpoint, or use stage_account_key"},
		"all at once":             {with(at("gs://acme-stage/"), func(e *external) { e.Integration = "a b" }), []string{"storage_integration", "stage_url"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := &mistakes{}
			tt.e.check(m)
			var got []string
			var text strings.Builder
			for _, d := range m.found {
				got = append(got, d.Attribute)
				text.WriteString(d.Summary + ": " + d.Detail + "\n")
			}
			if !slices.Equal(got, tt.want) || !strings.Contains(text.String(), tt.text) || strings.Contains(text.String(), "%!") {
				t.Errorf("mistakes in %q, want %q with %s:\n%s", got, tt.want, tt.text, &text)
			}
		})
	}
}

// Every attribute of a bucket has its counterpart, and arrives in the bucket's
// configuration.
func TestAttributesOfAnExternalStage(t *testing.T) {
	for url, want := range map[string]map[string]any{
		"s3://acme-stage/a/b":                               {"bucket": "acme-stage", "prefix": "a/b", "format": ""},
		"gcs://acme-stage/a/b":                              {"bucket": "acme-stage", "prefix": "a/b", "format": "", "region": ""},
		"azure://acmestage.blob.core.windows.net/stage/a/b": {"storage_account": "acmestage", "container": "stage", "prefix": "a/b", "format": ""},
	} {
		values := map[string]any{"stage_url": url, "stage_endpoint": "v-endpoint"}
		want["endpoint"] = "v-endpoint"
		for _, a := range (external{URL: url}).cloud().attributes {
			values[bucketPrefix+a.Name] = "v-" + a.Name
			if a.Type == schema.Bool {
				values[bucketPrefix+a.Name] = true
			}
			want[a.Name] = values[bucketPrefix+a.Name]
		}
		data, err := json.Marshal(values)
		if err != nil {
			t.Fatal(err)
		}
		var c config
		if err := (sdk.Config{JSON: data}).Decode(&c); err != nil {
			t.Fatal(err)
		}
		_, b, err := c.bucket()
		if err != nil {
			t.Fatal(err)
		}
		var configuration any
		switch b := b.(type) {
		case amazonBucket:
			configuration = b.config
		case googleBucket:
			configuration = b.config
		case azureContainer:
			configuration = b.config
		}
		got, err := json.Marshal(configuration)
		if err != nil {
			t.Fatal(err)
		}
		var found map[string]any
		if err := json.Unmarshal(got, &found); err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(found, want) {
			t.Errorf("the bucket has %v, want %v", found, want)
		}
	}
}

// LIST names the files of a stage by URLs whose scheme may be another than the stage's.
func TestNamesOfListedFiles(t *testing.T) {
	s := externalStage{url: "s3gov://acme-stage/penstock/7/"}
	for name, want := range map[string]string{
		"s3gov://acme-stage/penstock/7/events/a": "events/a", "s3://acme-stage/penstock/7/events/a": "events/a", "s3://acme-stage/penstock/70/a": "", "s3://other/penstock/7/a": "",
	} {
		if got, found := s.relative(name); found != (want != "") || found && got != want {
			t.Errorf("%s is %q, %t; want %q", name, got, found, want)
		}
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
func TestTheScriptOfAnExternalStage(t *testing.T) { eachCloud(t, testTheScript) }

func testTheScript(t *testing.T, o *outside) {
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
		_, script, found := strings.Cut(s.Text, "<<'SQL' | snow sql --stdin\n")
		if !found {
			continue
		}
		script = strings.NewReplacer("@KEY@", base64.StdEncoding.EncodeToString(public), "@ACCOUNT@", "123456789012", "@TENANT@", "acme").Replace(strings.TrimSuffix(script, "SQL\n"))
		for line := range strings.Lines(script) {
			if strings.HasPrefix(line, "USE ROLE") {
				continue // the stand-in gives these roles no rights
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
