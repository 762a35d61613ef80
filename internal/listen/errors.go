package listen

import (
	"bytes"
	"context"
	"log"
	"log/slog"
	"strings"
)

// Errors is where an http.Server tells of what goes wrong. Anybody who reaches the
// port makes handshakes fail, as often as they like: that is for debugging alone.
func Errors(to *slog.Logger) *log.Logger { return log.New(serverErrors{to}, "", 0) }

type serverErrors struct{ to *slog.Logger }

// Write implements io.Writer.
func (e serverErrors) Write(line []byte) (int, error) {
	level := slog.LevelError
	for _, theirs := range []string{"http: TLS handshake error", "http2: ", "http: URL query contains semicolon"} {
		if bytes.HasPrefix(line, []byte(theirs)) {
			level = slog.LevelDebug
		}
	}
	e.to.Log(context.Background(), level, "serve HTTP", "err", strings.TrimSpace(string(line)))
	return len(line), nil
}
