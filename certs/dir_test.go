package certs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/detnet/detnet/internal/await"
)

// mount imitates kubelet: each write is a new directory, and what the program
// sees are links through ..data, which is replaced in one rename.
type mount struct {
	t    *testing.T
	path string
	n    int
}

func newMount(t *testing.T) *mount {
	m := &mount{t: t, path: t.TempDir()}
	for _, name := range []string{CertFile, KeyFile, CAFile} {
		m.must(os.Symlink(filepath.Join("..data", name), filepath.Join(m.path, name)))
	}
	return m
}

func (m *mount) write(cert, key, ca []byte) {
	m.t.Helper()
	m.n++
	version := fmt.Sprintf("..version-%d", m.n)
	m.must(os.Mkdir(filepath.Join(m.path, version), 0o755))
	for name, content := range map[string][]byte{CertFile: cert, KeyFile: key, CAFile: ca} {
		m.must(os.WriteFile(filepath.Join(m.path, version, name), content, 0o600))
	}
	m.must(os.Symlink(version, filepath.Join(m.path, "..data_tmp")))
	m.must(os.Rename(filepath.Join(m.path, "..data_tmp"), filepath.Join(m.path, "..data")))
}

func (m *mount) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// run follows the directory until the test ends.
func run(t *testing.T, d *Dir) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		goleak.VerifyNone(t)
	})
}

func TestDirFollowsTheSymlinkSwap(t *testing.T) {
	ca := newAuthority(t)
	hour := time.Now().Add(time.Hour)
	m := newMount(t)
	cert, key := ca.issue(t, "first", hour, bothUsages...)
	m.write(cert, key, ca.pem)
	d, err := OpenDir(m.path)
	if err != nil {
		t.Fatal(err)
	}
	server, client := d.ServerConfig(), d.MutualClientConfig("second")
	if _, err := exchange(t, server, client); err == nil {
		t.Fatal("the first certificate passed for the second")
	}
	run(t, d)

	// A new authority as well as a new certificate: the same configurations,
	// made before, must serve the one and trust the other.
	next := newAuthority(t)
	cert, key = next.issue(t, "second", hour, bothUsages...)
	m.write(cert, key, next.pem)
	await.Until(t, "the second certificate is in use on both sides", func() bool {
		name, err := exchange(t, server, client)
		return err == nil && name == "second"
	})
}

func TestDirKeepsTheLastGoodPair(t *testing.T) {
	ca := newAuthority(t)
	hour := time.Now().Add(time.Hour)
	m := newMount(t)
	cert, key := ca.issue(t, "good", hour, bothUsages...)
	m.write(cert, key, ca.pem)
	d, err := OpenDir(m.path)
	if err != nil {
		t.Fatal(err)
	}
	run(t, d)

	_, foreign := ca.issue(t, "other", hour)
	for _, bad := range [][3][]byte{{cert, foreign, ca.pem}, {nil, nil, nil}, {cert, key, []byte("no PEM")}} {
		m.write(bad[0], bad[1], bad[2])
		if err := d.read(); err == nil {
			t.Fatalf("read accepted a bad directory: %q", bad)
		}
	}
	if name, err := exchange(t, d.MutualServerConfig(), d.MutualClientConfig("good")); err != nil || name != "good" {
		t.Fatalf("served %q, %v", name, err)
	}
	cert, key = ca.issue(t, "again", hour, bothUsages...)
	m.write(cert, key, ca.pem)
	await.Until(t, "a good certificate after the bad ones is taken up", func() bool {
		name, err := exchange(t, d.ServerConfig(), d.MutualClientConfig("again"))
		return err == nil && name == "again"
	})
}

// The message has to lead to the file.
func TestOpenDirSaysWhatIsMissing(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue(t, "good", time.Now().Add(time.Hour))
	for missing, want := range map[string]string{CertFile: "tls.crt", KeyFile: "tls.key", CAFile: "ca.crt"} {
		m := newMount(t)
		m.write(cert, key, ca.pem)
		m.must(os.Remove(filepath.Join(m.path, missing)))
		if _, err := OpenDir(m.path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), m.path) {
			t.Errorf("without %s: %v", missing, err)
		}
	}
}
