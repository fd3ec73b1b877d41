// Command testplugin is a destination plugin that misbehaves. What it does
// wrong is in the name of its file, penstock-destination-<mode>, since nothing
// else of the tests reaches it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	destinationv1 "github.com/penstock-io/penstock/proto/penstock/destination/v1"
	"github.com/penstock-io/penstock/sdk/protocol"
)

func main() {
	mode := strings.TrimPrefix(filepath.Base(os.Args[0]), "penstock-destination-")
	before(mode)
	logger := hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: os.Stderr, JSONFormat: true})
	version := 1
	if mode == "newer" {
		version = 9
	}
	stdout := os.Stdout // go-plugin replaces it
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: goplugin.HandshakeConfig{ProtocolVersion: uint(version), MagicCookieKey: "PENSTOCK_PLUGIN", MagicCookieValue: os.Getenv("PENSTOCK_PLUGIN")},
		Plugins:         goplugin.PluginSet{"destination": &served{server: &server{mode: mode, log: logger, stdout: stdout}}},
		Logger:          logger,
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, grpc.MaxRecvMsgSize(8<<20), grpc.MaxSendMsgSize(8<<20))...)
		},
	})
}

// before is what happens ahead of the handshake.
func before(mode string) {
	switch mode {
	case "exits":
		fmt.Fprintln(os.Stderr, "cannot find my licence")
		os.Exit(3)
	case "silent":
		time.Sleep(time.Hour)
	case "banner":
		fmt.Print(strings.Repeat("x", 1<<20) + "\nwelcome\n")
	case "deaf":
		deaf("unix", filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "s"))
	case "tcp":
		deaf("tcp", "127.0.0.1:0")
	case "netrpc":
		fmt.Println("1|1|unix|" + filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "s") + "|netrpc")
		time.Sleep(time.Hour)
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
	case "grandchild":
		child(&syscall.SysProcAttr{})
	case "escaped":
		child(&syscall.SysProcAttr{Setsid: true})
	}
}

// deaf says where it listens, and never answers.
func deaf(network, addr string) {
	l, err := net.Listen(network, addr)
	if err != nil {
		panic(err)
	}
	fmt.Printf("1|1|%s|%s|grpc\n", l.Addr().Network(), l.Addr())
	for {
		if _, err := l.Accept(); err != nil {
			panic(err)
		}
	}
}

// child starts a process that keeps our pipes, and prints its id.
func child(attr *syscall.SysProcAttr) {
	c := exec.Command("sleep", "1000")
	c.Stdout, c.Stderr, c.SysProcAttr = os.Stdout, os.Stderr, attr
	if err := c.Start(); err != nil {
		panic(err)
	}
	fmt.Fprintf(os.Stderr, "child %d\n", c.Process.Pid)
}

type served struct {
	goplugin.NetRPCUnsupportedPlugin
	server *server
}

func (s *served) GRPCServer(_ *goplugin.GRPCBroker, g *grpc.Server) error {
	destinationv1.RegisterDestinationServiceServer(g, s.server)
	return nil
}

func (s *served) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	panic("this is the plugin's side")
}

type server struct {
	destinationv1.UnimplementedDestinationServiceServer
	mode   string
	log    hclog.Logger
	stdout *os.File

	configured atomic.Bool
	config     string
}

func (s *server) Describe(context.Context, *destinationv1.DescribeRequest) (*destinationv1.DescribeResponse, error) {
	switch s.mode {
	case "frozen":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		time.Sleep(time.Hour) // the signal may reach another thread first
	case "slow":
		time.Sleep(time.Hour)
	}
	name := s.mode
	if name == "misnamed" {
		name = "other"
	}
	return &destinationv1.DescribeResponse{
		Name: name, Version: "1.2.3",
		Schema: &destinationv1.ConfigSchema{Attributes: []*destinationv1.Attribute{
			{Name: "bucket", Type: destinationv1.AttributeType_ATTRIBUTE_TYPE_STRING, Required: true, Description: "Where to."},
			{Name: "password", Type: destinationv1.AttributeType_ATTRIBUTE_TYPE_STRING, Sensitive: true, Description: "To get in."},
			{Name: "retries", Type: destinationv1.AttributeType_ATTRIBUTE_TYPE_INTEGER, DefaultJson: "3", Description: "How often."},
		}},
		Capabilities: &destinationv1.Capabilities{
			Streams:      []destinationv1.Stream{destinationv1.Stream_STREAM_EVENTS},
			Codecs:       []destinationv1.Codec{destinationv1.Codec_CODEC_NDJSON_DEFLATE},
			Modes:        []destinationv1.Mode{destinationv1.Mode_MODE_APPEND},
			Partitioning: destinationv1.Partitioning_PARTITIONING_UTC,
			Guarantee:    destinationv1.Guarantee_GUARANTEE_IDEMPOTENT,
		},
		Environment: []string{"AWS_PROFILE", "TESTED_*"},
	}, nil
}

func (s *server) Configure(_ context.Context, r *destinationv1.ConfigureRequest) (*destinationv1.ConfigureResponse, error) {
	s.log.Info("configured", "config", string(r.GetConfigJson()), "project", r.GetProject().GetName())
	fmt.Fprintf(os.Stderr, "raw %s\n", r.GetConfigJson())
	s.configured.Store(true)
	s.config = string(r.GetConfigJson())
	if s.mode == "telltale" {
		return &destinationv1.ConfigureResponse{Diagnostics: []*destinationv1.Diagnostic{{
			Severity: destinationv1.Severity_SEVERITY_WARNING, Attribute: "password", Summary: "Weak", Detail: "Weak: " + s.config,
		}}}, nil
	}
	return &destinationv1.ConfigureResponse{Targets: []*destinationv1.Target{{Stream: destinationv1.Stream_STREAM_EVENTS, Uri: "test://" + s.mode}}}, nil
}

// Check reports on the process that it runs in, or comes to an end.
func (s *server) Check(context.Context, *destinationv1.CheckRequest) (*destinationv1.CheckResponse, error) {
	switch s.mode {
	case "crash":
		for i := range 150 {
			s.log.Info(fmt.Sprintf("line %d", i))
		}
		panic("lost my way")
	case "chatty":
		// The process's real standard output, without a newline.
		if _, err := s.stdout.WriteString(strings.Repeat("y", 1<<20)); err != nil {
			return nil, err
		}
		fmt.Print(strings.Repeat("z", 1<<20))
		fmt.Fprint(os.Stderr, strings.Repeat("w", 1<<20))
	case "telltale":
		e := &protocol.Error{Class: protocol.Configuration, Hint: "use another than " + s.config, Err: errors.New("refused: " + s.config)}
		return nil, protocol.ToStatus(e)
	case "hangs":
		time.Sleep(time.Hour)
	}
	stdin, err := io.ReadAll(os.Stdin)
	if err != nil {
		return nil, err
	}
	wd, _ := os.Getwd()
	results := []*destinationv1.CheckResult{
		{Action: "stdin", Detail: fmt.Sprint(len(stdin))}, {Action: "pid", Detail: fmt.Sprint(os.Getpid())},
		{Action: "pgid", Detail: fmt.Sprint(syscall.Getpgrp())}, {Action: "wd", Detail: wd},
	}
	for _, kv := range os.Environ() {
		results = append(results, &destinationv1.CheckResult{Action: "env", Detail: kv})
	}
	return &destinationv1.CheckResponse{Results: results}, nil
}

// Export takes what comes; "wedged" stops reading, "quiet" never answers a
// Commit.
func (s *server) Export(stream destinationv1.DestinationService_ExportServer) error {
	var rows uint64
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		var answer *destinationv1.ExportResponse
		switch m := m.GetMessage().(type) {
		case *destinationv1.ExportRequest_Open:
			answer = &destinationv1.ExportResponse{Message: &destinationv1.ExportResponse_Opened{Opened: &destinationv1.Opened{LastCommittedRun: s.last()}}}
		case *destinationv1.ExportRequest_Batch:
			if s.mode == "wedged" {
				select {}
			}
			rows += uint64(m.Batch.GetRows())
			if s.mode == "telltale" {
				answer = &destinationv1.ExportResponse{Message: &destinationv1.ExportResponse_Rejected{Rejected: &destinationv1.Rejected{
					Rows: []*destinationv1.RejectedRow{{Reason: "refused by " + s.config, Line: []byte("row")}},
				}}}
			}
		case *destinationv1.ExportRequest_Prepare:
			answer = &destinationv1.ExportResponse{Message: &destinationv1.ExportResponse_Prepared{Prepared: &destinationv1.Prepared{Receipt: s.receipt(rows)}}}
		case *destinationv1.ExportRequest_Commit:
			switch s.mode {
			case "quiet":
				select {}
			case "dies":
				os.Exit(4)
			}
			answer = &destinationv1.ExportResponse{Message: &destinationv1.ExportResponse_Committed{Committed: &destinationv1.Committed{Receipt: s.receipt(rows)}}}
		}
		if answer != nil {
			if err := stream.Send(answer); err != nil {
				return err
			}
		}
	}
}

// last is 41 when the plugin was configured.
func (s *server) last() int64 {
	if s.configured.Load() {
		return 41
	}
	return 0
}

func (s *server) receipt(rows uint64) *destinationv1.Receipt {
	p := &destinationv1.PartitionReceipt{Rows: rows}
	if s.mode == "telltale" {
		p.Objects = []string{"at " + s.config}
	}
	return &destinationv1.Receipt{Partitions: []*destinationv1.PartitionReceipt{p}}
}

// Inventory lists two items, and "stalls" before the second.
func (s *server) Inventory(_ *destinationv1.InventoryRequest, stream destinationv1.DestinationService_InventoryServer) error {
	for run := range int64(2) {
		if run == 1 && s.mode == "stalls" {
			time.Sleep(time.Hour)
		}
		if err := stream.Send(&destinationv1.InventoryResponse{Date: "2026-06-01", Run: run + 1}); err != nil {
			return err
		}
	}
	return nil
}

// Erase counts the ids, and "stalls" before it answers.
func (s *server) Erase(stream destinationv1.DestinationService_EraseServer) error {
	var n uint64
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		n += uint64(len(m.GetDistinctIds()))
	}
	if s.mode == "stalls" {
		time.Sleep(time.Hour)
	}
	return stream.SendAndClose(&destinationv1.EraseResponse{Rows: n})
}

func (s *server) Drain(ctx context.Context, _ *destinationv1.DrainRequest) (*destinationv1.DrainResponse, error) {
	s.log.Info("drained")
	if s.mode == "undrained" {
		<-ctx.Done()
		time.Sleep(time.Hour)
	}
	return &destinationv1.DrainResponse{}, nil
}
