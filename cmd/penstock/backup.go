package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/host"
)

func newBackupCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "backup FILE|DIR",
		Short: "Write a backup of the data directory, also while a host runs",
		Long: `Writes the catalog, the journal, the quarantine and the write-ahead logs of
collectors into one new file, or into a file named by the time in a directory. A
running host writes the file itself, and keeps working. The file has its name once
it is whole. 'penstock restore' restores it into an empty directory.`,
		Args: exactly("FILE|DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			o, err := c.operations(cmd.Context())
			if err != nil {
				return err
			}
			defer o.Close()
			report, err := o.Backup(cmd.Context(), path)
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(report)
			}
			c.printBackup(report)
			return nil
		},
	}
}

func (c *cli) printBackup(r *host.BackupReport) {
	fmt.Fprintf(c.out, "wrote %s, %s\n", r.Path, size(r.Bytes))
	for _, p := range r.Parts {
		fmt.Fprintf(c.out, "  %s: %s, %s\n", p.Name, many(p.Files, "file"), size(p.Bytes))
	}
	c.printNotIncluded(r.NotIncluded)
}

func (c *cli) printNotIncluded(parts []string) {
	fmt.Fprintln(c.out, "not in a backup:")
	for _, p := range parts {
		fmt.Fprintf(c.out, "  %s\n", p)
	}
}

func newRestoreCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "restore FILE",
		Short: "Restore a backup into an empty data directory",
		Long: `Restores a file that 'penstock backup' wrote into the data_dir of the
configuration (and blobs, if it lies elsewhere), which must be empty or missing. The
checksum is compared before a host may use the directory.`,
		Args: exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			config, err := c.load(cmd.Context(), host.LoadOptions{Command: true})
			if err != nil {
				return err
			}
			report, err := host.Restore(cmd.Context(), config, args[0])
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(report)
			}
			fmt.Fprintf(c.out, "restored %s, %s, into %s: %s, %s\n",
				many(report.Files, "file"), size(report.Bytes), report.DataDir, many(int64(report.Projects), "project"), many(int64(report.Pipelines), "pipeline"))
			fmt.Fprintf(c.out, "the backup is of %s UTC and was written by penstock %s\n", utc(report.MadeAt), report.Version)
			c.printNotIncluded(report.NotIncluded)
			fmt.Fprintln(c.out, "next: penstock run. A pipeline stops if its destination holds later runs: penstock pipelines recover NAME says how to go on")
			return nil
		},
	}
}
