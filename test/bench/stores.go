package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// The limits of the plugins of stores.
const (
	pluginCPU    = 0.3 // µs per row
	pluginMemory = 100 // MiB
	// runRows are the rows of one run of about 1 GiB at the destination.
	runRows = 9_500_000
	// wideRows are the rows of one run of about 1 GiB at the destination whose events
	// have a property of wideSize bytes.
	wideRows = 170_000
	wideSize = 8 << 10
)

// server is a program that stands in for a store's service.
type server struct {
	endpoint string
	dir      string // of its objects; empty: it keeps them in memory
	cmd      *exec.Cmd
	behind   *server  // that it needs; nil: none
	env      []string // that the host needs to reach it
}

// startServer starts a program and waits until it listens at addr.
func startServer(ctx context.Context, addr, dir string, env []string, name string, args ...string) (*server, error) {
	s := &server{endpoint: "http://" + addr, dir: dir, cmd: exec.CommandContext(ctx, name, args...)}
	s.cmd.Env = append(os.Environ(), env...)
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s (make tools installs it): %w", filepath.Base(name), err)
	}
	for range 600 {
		if connection, err := net.Dial("tcp", addr); err == nil {
			return s, connection.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.stop()
	return nil, fmt.Errorf("start %s: it does not listen", filepath.Base(name))
}

func (s *server) stop() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	}
	if s.behind != nil {
		s.behind.stop()
	}
}

// benched is a store whose plugin is measured.
type benched struct {
	name string
	// start starts the service for one measurement, which has a new one.
	start func(ctx context.Context, root, dir string) (*server, error)
	// block is the body of the destination block.
	block func(s *server) string
	env   []string
	// count counts the rows that arrived; nil: they are in the objects of the
	// server's directory.
	count func(ctx context.Context, s *server) (int, error)
	// parquet: the objects are Parquet files.
	parquet bool
	// kind is the plugin's name; empty: name.
	kind string
	// slow: the service takes minutes for a million rows. It is given a quarter of them,
	// and a run of 1 GiB of wide events.
	slow bool
}

// plugin returns the name of the store's plugin.
func (s benched) plugin() string { return cmp.Or(s.kind, s.name) }

// inParquet returns a store whose objects are Parquet files.
func (s benched) inParquet() benched {
	block := s.block
	s.parquet, s.block = true, func(at *server) string { return block(at) + "  format = \"parquet\"\n" }
	return s
}

const (
	azureAccount = "bench"
	azureKey     = "YmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gtYmVuY2g="
)

var benchedStores = []benched{
	{name: "localfs", start: func(_ context.Context, _, dir string) (*server, error) { return &server{dir: dir}, nil },
		block: func(s *server) string { return fmt.Sprintf("  path = %q\n", s.dir) }},
	{name: "s3", start: func(ctx context.Context, root, dir string) (*server, error) {
		s, err := startS3(ctx, root, dir)
		if err != nil {
			return nil, err
		}
		return &server{endpoint: s.endpoint, dir: filepath.Join(s.dir, "bucket0"), cmd: s.cmd}, nil
	}, block: func(s *server) string {
		return fmt.Sprintf("  bucket            = \"bucket0\"\n  region            = \"us-east-1\"\n  endpoint          = %q\n  path_style        = true\n  access_key_id     = %q\n  secret_access_key = env(\"S3_SECRET\")\n", s.endpoint, s3Access)
	}, env: []string{"S3_SECRET=" + s3Secret}},
	{name: "gcs", start: startGCS, block: func(s *server) string {
		return fmt.Sprintf("  bucket   = \"bucket0\"\n  endpoint = %q\n", s.endpoint)
	}},
	{name: "azure", start: startAzurite, block: func(s *server) string {
		return fmt.Sprintf("  storage_account = %q\n  container       = \"bucket0\"\n  endpoint        = %q\n  account_key     = env(\"AZURE_KEY\")\n", azureAccount, s.endpoint)
	}, env: []string{"AZURE_KEY=" + azureKey}},
	{name: "bigquery", start: startBigQuery, block: bigQueryBlock, count: countBigQuery, slow: true},
	{name: "snowflake", start: startSnowflake, block: snowflakeBlock, count: countSnowflake, slow: true},
	{name: "snowflake-sse", kind: "snowflake", start: startSnowflake, block: snowflakeServerSide, count: countSnowflake, slow: true},
	{name: "snowflake-external", kind: "snowflake", start: startSnowflake, block: snowflakeExternal, count: countSnowflake, slow: true, env: []string{"S3_SECRET=" + s3Secret}},
	{name: "snowflake-google", kind: "snowflake", start: outsideGoogle.startSnowflake, block: snowflakeGoogle, count: countSnowflake, slow: true},
	{name: "snowflake-azure", kind: "snowflake", start: outsideAzure.startSnowflake, block: snowflakeAzure, count: countSnowflake, slow: true, env: []string{"AZURE_KEY=" + azureKey}},
}

// startGCS starts a fake-gcs-server over a directory.
func startGCS(ctx context.Context, root, dir string) (*server, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(addr)
	objects := filepath.Join(dir, "gcs")
	if err := os.MkdirAll(filepath.Join(objects, "bucket0"), 0o700); err != nil {
		return nil, err
	}
	return startServer(ctx, addr, objects, nil, filepath.Join(root, ".cache", "bin", "fake-gcs-server"),
		"-scheme", "http", "-host", "127.0.0.1", "-port", port, "-public-host", addr, "-external-url", "http://"+addr,
		"-backend", "filesystem", "-filesystem-root", objects, "-log-level", "error")
}

// startAzurite starts an Azurite, which keeps blobs in memory.
func startAzurite(ctx context.Context, root, _ string) (*server, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(addr)
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, err
	}
	s, err := startServer(ctx, addr, "", []string{"AZURITE_ACCOUNTS=" + azureAccount + ":" + azureKey}, node,
		filepath.Join(root, ".cache", "azurite", "node_modules", "azurite", "dist", "src", "blob", "main.js"),
		"--inMemoryPersistence", "--silent", "--skipApiVersionCheck", "--disableTelemetry", "--blobHost", "127.0.0.1", "--blobPort", port)
	if err != nil {
		return nil, err
	}
	if err := createContainer(ctx, s.endpoint); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// createContainer creates the container bucket0.
func createContainer(ctx context.Context, endpoint string) error {
	path := "/" + azureAccount + "/bucket0"
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, endpoint+path+"?restype=container", nil)
	if err != nil {
		return err
	}
	if err := signAzure(r, path); err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusCreated {
		return fmt.Errorf("create a container: %s", answer.Status)
	}
	return nil
}

// storeRun is a subject of one store: one run of a journal, with a number of
// processors that the host and the plugin see.
type storeRun struct {
	benched
	journal    *journal
	processors int
}

func (s storeRun) name() string {
	format := ""
	if s.parquet {
		format = ", Parquet"
	}
	if wide := s.journal.in.wide; wide > 0 {
		format += fmt.Sprintf(", events of %d KiB", wide>>10)
	}
	return fmt.Sprintf("%s%s, %d days, GOMAXPROCS %d", s.benched.name, format, s.journal.in.days, s.processors)
}

// journal is an input that a host has read into its data directory, without any
// pipeline.
type journal struct {
	in    *input
	dir   string
	limit perEvent // of the input
}

// readJournal reads an input.
func readJournal(ctx context.Context, work string, of build, in *input) (*journal, error) {
	dir, err := os.MkdirTemp(work, "journal-*")
	if err != nil {
		return nil, err
	}
	progress("reading %d events of %d days", in.rows, in.days)
	_, err = runOnce(ctx, dir, of, job{}.config(of, dir, in, nil))
	return &journal{in: in, dir: dir}, err
}

// run exports a copy of the journal in one run, and counts the rows that arrived.
func (s storeRun) run(ctx context.Context, work string, of build) (usage, error) {
	dir, err := os.MkdirTemp(work, "store-*")
	if err != nil {
		return usage{}, err
	}
	defer os.RemoveAll(dir)
	if out, err := exec.CommandContext(ctx, "cp", "-a", filepath.Join(s.journal.dir, "data"), dir).CombinedOutput(); err != nil {
		return usage{}, fmt.Errorf("copy the journal: %w: %s", err, out)
	}
	place := filepath.Join(dir, "service")
	if err := os.Mkdir(place, 0o700); err != nil {
		return usage{}, err
	}
	service, err := s.start(ctx, of.root, place)
	if err != nil {
		return usage{}, err
	}
	defer service.stop()
	config := job{}.config(of, dir, s.journal.in, nil) + fmt.Sprintf(`destination %q "out" {
%s}
pipeline "to_out" {
  project     = "bench"
  stream      = "events"
  destination = destination.%s.out
  from_date   = %q
  max_run     = "4GiB"
}
`, s.plugin(), s.block(service), s.plugin(), s.journal.in.first.Format(time.DateOnly))
	if err := os.WriteFile(filepath.Join(dir, "penstock.hcl"), []byte(config), 0o600); err != nil {
		return usage{}, err
	}
	env := append([]string{fmt.Sprintf("GOMAXPROCS=%d", s.processors)}, append(service.env, s.env...)...)
	u, err := measure(ctx, dir, env, of.penstock(), "run", "--once", "--config", "penstock.hcl")
	if err != nil {
		return u, err
	}
	if !strings.Contains(u.out, "1 run,") {
		return u, fmt.Errorf("%s: the journal was not exported in one run: %s", s.name(), u.out)
	}
	if s.count != nil {
		rows, err := s.count(ctx, service)
		if err == nil && rows != s.journal.in.rows {
			err = fmt.Errorf("%s: %d rows arrived of %d", s.name(), rows, s.journal.in.rows)
		}
		return u, err
	}
	if s.parquet {
		u.stored, err = sizeOf(service.dir, ".parquet")
		return u, err
	}
	if service.dir == "" {
		service.dir = filepath.Join(dir, "downloaded")
		if err := downloadAzure(ctx, service.endpoint, service.dir); err != nil {
			return u, err
		}
	}
	return u, u.count(s.name(), s.journal.in, service.dir)
}

// sizeOf returns the size of all files below a directory whose names have an ending.
func sizeOf(dir, ending string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ending) {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	if err == nil && size == 0 {
		err = fmt.Errorf("no file below %s ends with %s", dir, ending)
	}
	return size, err
}

// stores measures the plugin of each object store, apart from the host. Stores
// alternate; processor times are medians of the rounds, and memory is the largest.
func stores(ctx context.Context, b *runner, r *report) error {
	of := b.builds[len(b.builds)-1]
	rounds := max(1, b.large)
	subjects, err := b.storeRuns(ctx, of)
	if err != nil {
		return err
	}
	samples := make([][]usage, len(subjects))
	for round := range rounds {
		for i, s := range subjects {
			u, err := s.run(ctx, b.dir, of)
			if err != nil {
				return errors.Join(fmt.Errorf("%s", s.name()), err)
			}
			samples[i] = append(samples[i], u)
			progress("%s, %d/%d: %.2f µs CPU per row", s.name(), round+1, rounds, s.perRow(u))
		}
	}
	head(fmt.Sprintf("plugins of stores, one run each, n = %d, %d processors", rounds, runtime.NumCPU()), "rows", "plugin µs CPU per row", "÷ limit per row", "plugin MiB", "host MiB")
	for i, s := range subjects {
		s.report(r, samples[i])
	}
	return nil
}

// storeRuns returns the subjects, over journals that they share.
func (b *runner) storeRuns(ctx context.Context, of build) (subjects []storeRun, err error) {
	journals := map[string]*journal{}
	add := func(store benched, in func() (*input, error), processors ...int) {
		var j *journal
		if err == nil {
			j, err = b.storeJournal(ctx, of, journals, in)
		}
		for _, n := range processors {
			subjects = append(subjects, storeRun{store, j, n})
		}
	}
	for _, store := range benchedStores {
		if b.store != "" && !slices.Contains(strings.Split(b.store, ","), store.name) {
			continue
		}
		scale := b.scale
		if store.slow {
			scale *= 4
		}
		add(store, func() (*input, error) { return b.input(runRows/scale, 30, false) }, 2, 16)
		add(store, func() (*input, error) { return b.input(1_000_000/scale, 400, true) }, 2)
		if store.slow {
			add(store, func() (*input, error) { return b.wide(wideRows/b.scale, 30) }, 2, 16)
		}
	}
	return subjects, err
}

// storeJournal reads an input on first use, and measures its limit.
func (b *runner) storeJournal(ctx context.Context, of build, known map[string]*journal, generated func() (*input, error)) (*journal, error) {
	in, err := generated()
	if err != nil {
		return nil, err
	}
	if j := known[in.path]; j != nil {
		return j, nil
	}
	limit, err := b.measureLimit(ctx, in)
	if err != nil {
		return nil, err
	}
	j, err := readJournal(ctx, b.dir, of, in)
	if err != nil {
		return nil, err
	}
	j.limit, known[in.path] = limit, j
	return j, nil
}

// perRow is the processor time of the plugin in µs per row.
func (s storeRun) perRow(u usage) float64 {
	return u.pluginCPU().Seconds() * 1e6 / float64(s.journal.in.rows)
}

// report prints the line of a subject, and its bars.
func (s storeRun) report(r *report, samples []usage) {
	var cpu []float64
	var plugin, host int64
	for _, u := range samples {
		cpu = append(cpu, s.perRow(u))
		plugin, host = max(plugin, u.plugin()), max(host, u.host())
	}
	perRow, memory := median(cpu), float64(plugin)/(1<<20)
	row(s.name(), number(float64(s.journal.in.rows)), number(perRow), number(s.journal.limit.ratio(perRow)), mib(memory), mib(float64(host)/(1<<20)))
	if s.journal.in.days == 30 && s.journal.in.wide == 0 {
		r.atMost("plugin of "+s.name()+", CPU per row", perRow, pluginCPU, "µs")
	}
	r.atMost("plugin of "+s.name()+", memory", memory, pluginMemory, "MiB")
}
