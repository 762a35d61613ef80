package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The instruments run before the cluster, whichever way the kernel groups them, and what
// shares their session runs afterwards as it did before.
func TestInstrumentsRunFirst(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may go ahead of others")
	}
	before, grouped, err := sessionNiceness()
	if err != nil {
		t.Fatal(err)
	}
	undo, err := first()
	if errors.Is(err, fs.ErrPermission) { // a container may be root without that
		t.Skip("only who may go ahead of others can: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	threads, err := filepath.Glob("/proc/self/task/*/stat")
	if err != nil || len(threads) == 0 {
		t.Fatalf("no threads: %v", err)
	}
	for _, thread := range threads {
		text, err := os.ReadFile(thread)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it has ended, before or after its file was opened
		}
		_, fields, _ := strings.Cut(string(text), ") ") // proc_pid_stat(5): niceness is field 19
		if f := strings.Fields(fields); err != nil || len(f) < 17 || f[16] != "-20" {
			t.Errorf("%s: %q, %v", thread, text, err)
		}
	}
	if during, _, err := sessionNiceness(); grouped && (err != nil || during != ahead) {
		t.Errorf("the session's niceness is %d, %v", during, err)
	}
	if err := undo(); err != nil {
		t.Fatal(err)
	}
	if after, _, err := sessionNiceness(); grouped && (err != nil || after != before) {
		t.Errorf("the session's niceness was %d and is %d, %v", before, after, err)
	}
}

func TestSessionsOutsideAnyGroupHaveNoNiceness(t *testing.T) {
	for text, want := range map[string]struct {
		niceness       int
		grouped, wrong bool
	}{
		"":                          {},
		"/autogroup-1414 nice 0\n":  {grouped: true},
		"/autogroup-7 nice -20\n":   {niceness: -20, grouped: true},
		"/autogroup-7\n":            {wrong: true},
		"something else altogether": {wrong: true},
	} {
		niceness, grouped, err := parseAutogroup(text)
		if niceness != want.niceness || grouped != want.grouped || (err != nil) != want.wrong {
			t.Errorf("%q: %d, %v, %v", text, niceness, grouped, err)
		}
	}
}
