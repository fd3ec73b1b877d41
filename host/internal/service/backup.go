package service

import (
	"context"
	"errors"
	"time"

	"github.com/penstock-io/penstock/host/internal/backup"
	"github.com/penstock-io/penstock/host/internal/operation"
)

// Backup implements Operations. Rows that are in memory only are sealed first.
func (h backups) Backup(ctx context.Context, path string) (*operation.BackupReport, error) {
	leave, err := h.Backups.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if h.Serving {
		for _, p := range h.Projects.All() {
			if err := p.Journal.Settle(ctx); err != nil {
				return nil, h.Dir.Explain(err)
			}
		}
	}
	return backup.Write(ctx, backup.Options{
		Dir: h.Dir, Store: h.Store, Catalog: h.Catalog, HoldRecords: h.Records.Hold, HoldLogs: h.Intake.HoldLogs, Version: h.Version, Now: time.Now,
	}, path)
}

// Reload implements Operations.
func (h backups) Reload(ctx context.Context) (*operation.ReloadReport, error) {
	return h.reload(ctx, false)
}

// PlanReload implements Operations.
func (h backups) PlanReload(ctx context.Context) (*operation.ReloadReport, error) {
	return h.reload(ctx, true)
}

func (h backups) reload(ctx context.Context, plan bool) (*operation.ReloadReport, error) {
	if h.Options.Reload == nil {
		return nil, errors.New("no host is serving this data directory: the next one reads the configuration when it starts")
	}
	return h.Options.Reload(ctx, plan)
}
