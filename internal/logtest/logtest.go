// Package logtest keeps what a log was told, for tests.
package logtest

import (
	"bytes"
	"log/slog"
	"sync"
	"testing"
)

// Lines are what a log was told, from many goroutines. The zero value is ready to use.
type Lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (l *Lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String is all of it so far.
func (l *Lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Of is a log that is shown with a test that fails. Unlike t.Output() it may be told more after the
// test: what controller-runtime says for itself goes to the log of a process's first test.
func Of(t testing.TB) *slog.Logger {
	told := new(Lines)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(told.String())
		}
	})
	return slog.New(slog.NewTextHandler(told, nil))
}
