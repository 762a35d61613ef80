package plainfile_test

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/detnet/detnet/internal/plainfile"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, size := range map[string]int{"empty": 0, "longest": plainfile.Most, "longer": plainfile.Most + 1} {
		if err := os.WriteFile(at(name), bytes.Repeat([]byte{'x'}, size), 0o600); err != nil {
			t.Fatal(err)
		}
		content, err := plainfile.Read(at(name))
		switch {
		case size <= plainfile.Most && (err != nil || len(content) != size):
			t.Errorf("%s: %d bytes, %v", name, len(content), err)
		case size > plainfile.Most && (err == nil || !strings.Contains(err.Error(), at(name)) || !strings.Contains(err.Error(), "larger than 1048576")):
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := syscall.Mkfifo(at("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", at("socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if err := os.Symlink("pipe", at("link")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		at("pipe"): "a pipe", at("link"): "a pipe", at("socket"): "a socket", dir: "a directory", os.DevNull: "a device", at("none"): "no such file",
	} {
		if content, err := plainfile.Read(path); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v; want that it is %s", path, content, err, want)
		}
	}
}
