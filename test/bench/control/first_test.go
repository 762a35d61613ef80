package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The instruments run before the cluster, whichever way the kernel groups them, and what
// shares their session runs afterwards as it did before.
func TestInstrumentsRunFirst(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may go ahead of others")
	}
	before, err := sessionNiceness()
	grouped := !errors.Is(err, fs.ErrNotExist)
	if grouped && err != nil {
		t.Fatal(err)
	}
	undo, err := first()
	if err != nil {
		t.Fatal(err)
	}
	threads, err := filepath.Glob("/proc/self/task/*/stat")
	if err != nil || len(threads) == 0 {
		t.Fatalf("no threads: %v", err)
	}
	for _, thread := range threads {
		text, err := os.ReadFile(thread)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		_, fields, _ := strings.Cut(string(text), ") ") // proc_pid_stat(5): niceness is field 19
		if f := strings.Fields(fields); err != nil || len(f) < 17 || f[16] != "-20" {
			t.Errorf("%s: %q, %v", thread, text, err)
		}
	}
	if during, err := sessionNiceness(); grouped && (err != nil || during != ahead) {
		t.Errorf("the session's niceness is %d, %v", during, err)
	}
	if err := undo(); err != nil {
		t.Fatal(err)
	}
	if after, err := sessionNiceness(); grouped && (err != nil || after != before) {
		t.Errorf("the session's niceness was %d and is %d, %v", before, after, err)
	}
}
