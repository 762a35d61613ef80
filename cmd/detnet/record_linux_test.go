package main

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/controller/leader"
)

// On a full disk nothing is recorded, and that is said; the recording that was there
// before is whole, and nothing half is beside it.
func TestRecordingOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=8k"); err != nil {
		t.Skipf("mount a small disk, which takes root: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	server := httptest.NewServer(recorded(t))
	defer server.Close()
	path := filepath.Join(dir, "incident.jsonl.gz")
	if err := os.WriteFile(path, []byte("the one before"), 0o600); err != nil {
		t.Fatal(err)
	}
	response, err := http.Get(server.URL + leader.RecordingPath)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if told, err := saveRecording(path, response.Body); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("%q, %v", told, err)
	}
	_, _ = io.Copy(io.Discard, response.Body)
	files, err := os.ReadDir(dir)
	if before, _ := os.ReadFile(path); string(before) != "the one before" || len(files) != 1 {
		t.Errorf("%q, beside %v, %v", before, files, err)
	}
	if _, err := saveRecording("/dev/null", nil); err == nil {
		t.Error("a device is taken for a file")
	}
}
