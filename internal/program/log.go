package program

import (
	"fmt"
	"io"
	"log/slog"
)

type logFlags struct {
	level  slog.Level
	format string
}

func (l logFlags) logger(out io.Writer) (*slog.Logger, error) {
	options := &slog.HandlerOptions{Level: l.level, ReplaceAttr: oneErrorKey}
	switch l.format {
	case "json":
		return slog.New(slog.NewJSONHandler(out, options)), nil
	case "text":
		return slog.New(slog.NewTextHandler(out, options)), nil
	}
	return nil, fmt.Errorf("--log-format: %q must be json or text", l.format)
}

// oneErrorKey writes errors under err, as client-go and controller-runtime do:
// one search finds all.
func oneErrorKey(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == "error" {
		a.Key = "err"
	}
	return a
}
