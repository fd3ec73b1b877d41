package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/host"
)

func newRunCommand(c *cli) *cobra.Command {
	var once bool
	var retryFor time.Duration
	command := &cobra.Command{
		Use:   "run",
		Short: "Serve until stopped, or work once through everything there is",
		Long: `Without --once the host serves until it is stopped: collectors listen, sources of
files with follow = true are read as they grow, and pipelines run when they are due.

A source of files without follow = true is read once: to its end, when the host
starts or a reload changes the source. Files that come later are read by the next
start.

With --once it reads every finite source to its end, seals, runs every pipeline
until it has caught up, and ends.`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("retry-for") && !once {
				return usageError{errors.New("--retry-for goes with --once")}
			}
			return c.run(cmd.Context(), once, retryFor)
		},
	}
	command.Flags().BoolVar(&once, "once", false, "work through everything there is, then end")
	command.Flags().DurationVar(&retryFor, "retry-for", 5*time.Minute, "with --once: how long to retry transient failures")
	return command
}

func (c *cli) run(ctx context.Context, once bool, retryFor time.Duration) error {
	// One that comes before the host serves is a reload once it does.
	hangups := make(chan os.Signal, 1)
	if !once {
		signal.Notify(hangups, syscall.SIGHUP)
		defer signal.Stop(hangups)
	}
	config, diagnostics, err := c.read(ctx, host.LoadOptions{})
	if config != nil {
		c.openLog(config)
	}
	if err != nil {
		return err
	}
	c.printDiagnostics(diagnostics)
	limitHost(config.Host.Memory)
	progress := c.progress()
	defer progress.Close()
	h, err := host.Open(ctx, config, host.Options{Observer: progress, Log: c.log, Hangups: hangups, Load: c.reread, Level: c.level})
	if err != nil {
		return err
	}
	if once {
		summary, runErr := h.RunOnce(ctx, host.OnceOptions{RetryFor: retryFor})
		progress.Close()
		if summary != nil {
			runErr = errors.Join(runErr, c.printSummary(summary))
		}
		return errors.Join(runErr, h.Close())
	}
	return errors.Join(h.Serve(ctx), h.Close())
}

// reread reads the configuration again, and has plugins check their destinations.
func (c *cli) reread(ctx context.Context) (*host.Config, host.Diagnostics, error) {
	return c.read(ctx, host.LoadOptions{Ask: true})
}

// openLog opens the log of a host. It takes lines of libraries that log by
// themselves, too.
func (c *cli) openLog(config *host.Config) {
	c.log, c.level = host.NewLogger(config, logWriter{c}, c.json)
	c.logJSON = c.json || host.LogsJSON(config)
	slog.SetDefault(c.log)
}

// printSummary prints the rows and objects of each source and pipeline. The texts
// of their errors come after it, on standard error.
func (c *cli) printSummary(s *host.Summary) error {
	if c.json {
		return c.printJSON(s)
	}
	for _, source := range s.Sources {
		fmt.Fprintf(c.out, "%s: %s\n", source.Name, readSummary(source))
		if source.Profiles != nil {
			fmt.Fprintf(c.out, "  profiles: %s read, in place of all that were known\n", thousands(*source.Profiles))
		}
		if source.Repaired > 0 {
			fmt.Fprintf(c.out, "  repaired: in %s U+FFFD replaces half characters (escaped surrogates without partner)\n", many(source.Repaired, "record"))
		}
		if source.Warning != "" {
			fmt.Fprintf(c.out, "  warning: %s\n", source.Warning)
		}
		if source.Recognised > 0 {
			fmt.Fprintf(c.out, "  recognised: %s %s records that were read under another name\n", many(int64(source.Recognised), "file"), verb(int64(source.Recognised), "holds", "hold"))
		}
		for _, w := range source.Waiting {
			fmt.Fprintf(c.out, "  waits: %s\n", w)
		}
		for _, x := range source.Skipped {
			fmt.Fprintf(c.out, "  not read: %s\n", x)
		}
		for _, q := range source.Quarantined {
			fmt.Fprintf(c.out, "  in quarantine: %s %s\n", thousands(q.Count), q.Reason)
		}
	}
	for _, p := range s.Pipelines {
		if p.Runs == 0 && p.Error == "" {
			fmt.Fprintf(c.out, "%s → %s: %s\n", p.Name, p.Destination, idleText(p))
			c.printLeftOut(p)
			continue
		}
		fmt.Fprintf(c.out, "%s → %s: %s, %s, %s in %s\n",
			p.Name, p.Destination, many(int64(p.Runs), "run"), many(p.Rows, "row"), size(p.StoredBytes), many(int64(p.Objects), "object"))
		if p.Rejected > 0 {
			fmt.Fprintf(c.out, "  refused by the destination, in quarantine: %s\n", many(p.Rejected, "row"))
		}
		if len(p.Changed) > 0 {
			fmt.Fprintf(c.out, "  changed to fit the destination, rows by reason: %s\n", byReason(p.Changed))
		}
		c.printLeftOut(p)
		for _, place := range p.Places {
			fmt.Fprintf(c.out, "  %s\n", place)
		}
		if more := p.Objects - len(p.Places); more > 0 {
			fmt.Fprintf(c.out, "  … and %d more\n", more)
		}
		if p.State != "" {
			fmt.Fprintf(c.out, "  %s\n", idleText(p))
		}
		if p.Error != "" {
			fmt.Fprintln(c.out, "  failed")
		}
	}
	return nil
}

// idleText tells why a pipeline has no further run.
func idleText(p host.PipelineSummary) string {
	thing := "row"
	if p.Stream != "events" {
		thing = "change"
	}
	waiting := many(p.Waiting, thing)
	switch {
	case p.State == pausedPipeline && p.Waiting > 0:
		return fmt.Sprintf("paused; %s %s for 'penstock pipelines resume %s'", waiting, verb(p.Waiting, "waits", "wait"), p.Name)
	case p.State == pausedPipeline:
		return "paused; nothing waits"
	case p.State == cancelledPipeline && p.Waiting > 0:
		return fmt.Sprintf("cancelled; %s %s not exported: a pipeline with another name and adopt = true goes on where it stopped", waiting, verb(p.Waiting, "is", "are"))
	case p.State == cancelledPipeline:
		return "cancelled; nothing waits"
	}
	return "nothing new to export"
}

// printLeftOut prints how many rows came too late for a pipeline, or lie outside its
// dates.
func (c *cli) printLeftOut(p host.PipelineSummary) {
	if p.LeftOut > 0 {
		fmt.Fprintf(c.out, "  came too late and left out (sync = false): %s\n", many(p.LeftOut, "row"))
	}
	for _, text := range outsideTexts(p.Outside) {
		fmt.Fprintf(c.out, "  not exported: %s\n", text)
	}
}

// readSummary says how much was read of a source, or why nothing was.
func readSummary(s host.SourceSummary) string {
	collector := strings.HasPrefix(s.Name, "collector.")
	pulls := strings.HasPrefix(s.Name, "mixpanel.")
	switch {
	case s.Error != "":
	case pulls && s.Queries == 0:
		return "no day is due"
	case pulls:
	case s.Records > 0 || len(s.Quarantined) > 0:
	case collector:
		return "nothing waits in its log"
	case s.NoFile != "":
		return s.NoFile
	case s.Matched == 0:
		return "its path matches no file (yet)"
	default:
		return fmt.Sprintf("nothing new in %s", many(int64(s.Matched), "file"))
	}
	text := fmt.Sprintf("%s read, %s new, %s repeated", many(s.Records, "record"), many(s.Rows, "row"), thousands(s.Duplicates))
	if pulls {
		text = fmt.Sprintf("%s pulled in %s: %s", many(int64(s.Days), "day"), many(int64(s.Queries), "query"), text)
	}
	if s.Error != "" {
		text += ", then failed"
	}
	return text
}
