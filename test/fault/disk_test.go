package fault

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/policies/live"
	"github.com/detnet/detnet/policies/live/bundletest"
)

// fullDisk is a directory on a disk of 64 KiB, without a byte left.
func fullDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("mount a small disk, which takes root: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func fill(t *testing.T, dir string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "filler"), make([]byte, 1<<20), 0o600); err == nil {
		t.Fatal("a disk of 64 KiB took 1 MiB")
	}
}

// The disk for the last good bundle is full: the server's bundle is in force all the
// same, it is said that none is kept, and what was kept before is whole.
func TestDiskIsFull(t *testing.T) {
	dir := fullDisk(t)
	signer := bundletest.NewSigner(t)
	content := signer.Sign(t, "package detnet.site\n\nclass := \"standard\"\n", nil)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) }))
	start := func() (live.Start, string) {
		t.Helper()
		var said strings.Builder
		b, err := live.NewBundle(server.URL, signer.Public, server.Client())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour) // or a policy would be given the time of a machine that runs
		defer cancel()
		s, err := b.KeepIn(dir).Start(ctx, true, slog.New(slog.NewTextHandler(&said, nil)))
		if err != nil {
			t.Fatal(err)
		}
		return s, said.String()
	}
	kept, said := start()
	if kept.Instead != "" || said != "" {
		t.Fatalf("%q, %q", kept.Instead, said)
	}
	fill(t, dir)
	s, said := start()
	if s.Instead != "" || s.Engine.Hash() != kept.Engine.Hash() || !strings.Contains(said, "no space left on device") {
		t.Errorf("%q stands in; said %q", s.Instead, said)
	}
	server.Close()
	if s, _ = start(); s.Engine.Hash() != kept.Engine.Hash() || s.Why == nil {
		t.Errorf("%q stands in, want the bundle that was kept while there was room: %v", s.Instead, s.Why)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 2 {
		t.Errorf("%v left on the disk: %v", files, err)
	}
}
