package program

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"

	"golang.org/x/time/rate"
)

type logFlags struct {
	level  slog.Level
	format string
}

func (l logFlags) logger(out io.Writer) (*slog.Logger, error) {
	options := &slog.HandlerOptions{Level: l.level, ReplaceAttr: readable}
	switch l.format {
	case "json":
		return slog.New(slog.NewJSONHandler(out, options)), nil
	case "text":
		return slog.New(slog.NewTextHandler(out, options)), nil
	}
	return nil, fmt.Errorf("--log-format: %q must be json or text", l.format)
}

// longest is the most of one value that is logged, octets: strangers have a part in some.
const longest = 4 << 10

// readable writes errors under err, as client-go and controller-runtime do, so that one
// search finds all; and of what is long the beginning.
func readable(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == "error" {
		a.Key = "err"
	}
	text := ""
	switch a.Value.Kind() {
	case slog.KindString:
		text = a.Value.String()
	case slog.KindAny:
		if err, ok := a.Value.Any().(error); ok {
			text = said(err)
		}
	}
	if len(text) > longest {
		a.Value = slog.StringValue(fmt.Sprintf("%s… and %d octets more", strings.ToValidUTF8(text[:longest], ""), len(text)-longest))
	}
	return a
}

// said is what err says; nothing if that panics, as of a nil pointer: slog says so itself.
func said(err error) (text string) {
	defer func() { _ = recover() }()
	return err.Error()
}

// Of one message so many are logged at once, and a second.
const (
	sparingBurst = 50
	sparingRate  = 5
)

// Sparing returns a log for what anybody can have logged as often as they like: of each
// message some are written, and with the next one how many were left out. Messages must be
// constants.
func Sparing(to *slog.Logger) *slog.Logger {
	return slog.New(sparing{to.Handler(), &messages{seen: map[string]*message{}}})
}

type sparing struct {
	slog.Handler
	said *messages
}

// messages are those that were logged so far.
type messages struct {
	mu   sync.Mutex
	seen map[string]*message
}

type message struct {
	limit *rate.Limiter
	left  int // out since the last one
}

// Handle implements slog.Handler.
func (s sparing) Handle(ctx context.Context, r slog.Record) error {
	left, may := s.said.take(r)
	if !may {
		return nil
	}
	if left > 0 {
		r.AddAttrs(slog.Int("left_out", left))
	}
	return s.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (s sparing) WithAttrs(attrs []slog.Attr) slog.Handler {
	return sparing{s.Handler.WithAttrs(attrs), s.said}
}

// WithGroup implements slog.Handler.
func (s sparing) WithGroup(name string) slog.Handler {
	return sparing{s.Handler.WithGroup(name), s.said}
}

func (m *messages) take(r slog.Record) (left int, may bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	one := m.seen[r.Message]
	if one == nil {
		one = &message{limit: rate.NewLimiter(sparingRate, sparingBurst)}
		m.seen[r.Message] = one
	}
	if !one.limit.AllowN(r.Time, 1) {
		one.left++
		return 0, false
	}
	left, one.left = one.left, 0
	return left, true
}
