package plugin

import (
	"io"
	"log/slog"
	"runtime"
)

const testArch = runtime.GOARCH

var discard = slog.New(slog.NewTextHandler(io.Discard, nil))
