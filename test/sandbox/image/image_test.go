package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// programs writes files that stand for binaries and returns their images.
func programs(t *testing.T, dir string, contents map[string]string, order ...string) []Image {
	t.Helper()
	var images []Image
	for _, program := range order {
		path := filepath.Join(dir, program)
		if err := os.WriteFile(path, []byte(contents[program]), 0o755); err != nil {
			t.Fatal(err)
		}
		i, err := New("docker.io/detnet/"+program+":dev", path, "amd64")
		if err != nil {
			t.Fatal(err)
		}
		i.User = "65532:65532"
		images = append(images, i)
	}
	return images
}

var contents = map[string]string{"detnet-webhook": "webhook binary", "detnet": "client binary"}

// unpack extracts a tarball and checks that blobs are what their names say, and
// that nothing says when or by whom it was made.
func unpack(t *testing.T, path string) string {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	dir := t.TempDir()
	for r := tar.NewReader(file); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		if !header.ModTime.Equal(time.Unix(0, 0)) || header.Uid != 0 || header.Uname != "" {
			t.Errorf("%s: time %v, owner %d %q", header.Name, header.ModTime, header.Uid, header.Uname)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(content)
		if digest, blob := strings.CutPrefix(header.Name, "blobs/sha256/"); blob && digest != hex.EncodeToString(sum[:]) {
			t.Errorf("%s holds %x", header.Name, sum)
		}
		target := filepath.Join(dir, header.Name)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(target, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestArchiveIsAValidLayout(t *testing.T) {
	path := filepath.Join(t.TempDir(), "images.tar")
	if err := Write(path, programs(t, t.TempDir(), contents, "detnet-webhook", "detnet")...); err != nil {
		t.Fatal(err)
	}
	index, err := layout.ImageIndexFromPath(unpack(t, path))
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 2 {
		t.Fatalf("%d images", len(manifest.Manifests))
	}
	for n, program := range []string{"detnet-webhook", "detnet"} {
		descriptor := manifest.Manifests[n]
		if got, want := descriptor.Annotations["io.containerd.image.name"], "docker.io/detnet/"+program+":dev"; got != want {
			t.Errorf("name %q, want %q", got, want)
		}
		img, err := index.Image(descriptor.Digest)
		if err != nil {
			t.Fatal(err)
		}
		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if c := config.Config; len(c.Entrypoint) != 1 || c.Entrypoint[0] != "/"+program || c.User != "65532:65532" {
			t.Errorf("%s: entrypoint %q, user %q", program, c.Entrypoint, c.User)
		}
		layers, err := img.Layers()
		if err != nil || len(layers) != 1 {
			t.Fatalf("%s: %d layers, %v", program, len(layers), err)
		}
		content, err := layers[0].Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		r := tar.NewReader(content)
		header, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		binary, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if header.Name != program || header.Mode != 0o755 || string(binary) != contents[program] {
			t.Errorf("%s: file %q, mode %o, content %q", program, header.Name, header.Mode, binary)
		}
	}
}

// The same binaries, elsewhere and later, give the same bytes.
func TestArchiveIsReproducible(t *testing.T) {
	var archives [2][]byte
	for n := range archives {
		path := filepath.Join(t.TempDir(), "images.tar")
		if err := Write(path, programs(t, t.TempDir(), contents, "detnet-webhook", "detnet")...); err != nil {
			t.Fatal(err)
		}
		var err error
		if archives[n], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("two archives of the same binaries differ")
	}
}

func TestUpToDate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "images.tar")
	images := programs(t, dir, contents, "detnet-webhook", "detnet")
	if UpToDate(path, images...) {
		t.Error("a missing archive is up to date")
	}
	if err := Write(path, images...); err != nil {
		t.Fatal(err)
	}
	if !UpToDate(path, images...) {
		t.Error("the archive just written is not up to date")
	}
	changed := map[string]string{"detnet-webhook": "another binary", "detnet": contents["detnet"]}
	if UpToDate(path, programs(t, dir, changed, "detnet-webhook", "detnet")...) {
		t.Error("a changed binary went unnoticed")
	}
	if UpToDate(path, images[:1]...) {
		t.Error("a program less went unnoticed")
	}
	retagged := images[0]
	retagged.tag = images[1].tag
	if UpToDate(path, retagged, images[1]) {
		t.Error("another name went unnoticed")
	}
	foreign := images[0]
	foreign.arch = "arm64"
	if UpToDate(path, foreign, images[1]) {
		t.Error("another architecture went unnoticed")
	}
	if err := os.WriteFile(path, []byte("not a tarball"), 0o644); err != nil {
		t.Fatal(err)
	}
	if UpToDate(path, images...) {
		t.Error("a broken archive is up to date")
	}
}

// A failure must not leave a half-written archive where a whole one is looked for.
func TestFailureLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	images := programs(t, dir, contents, "detnet")
	if err := os.Remove(images[0].binary); err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	if err := Write(filepath.Join(out, "images.tar"), images...); err == nil {
		t.Fatal("packed a binary that is not there")
	}
	entries, err := os.ReadDir(out)
	if err != nil || len(entries) > 0 {
		t.Errorf("left %v, %v", entries, err)
	}
}

// The index comes first, or UpToDate would read hundreds of megabytes.
func TestIndexComesFirst(t *testing.T) {
	var buf bytes.Buffer
	if err := writeLayout(&buf, programs(t, t.TempDir(), contents, "detnet")); err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(&buf)
	header, err := r.Next()
	if err != nil || header.Name != "index.json" {
		t.Fatalf("first file %v, %v", header, err)
	}
	if content, err := io.ReadAll(r); err != nil || !json.Valid(content) {
		t.Errorf("index %q, %v", content, err)
	}
}

func TestNewRefuses(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(binary, []byte("x"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ ref, binary string }{
		{"detnet.local/Upper:1", binary},
		{"no-registry-or-tag", binary},
		{"detnet.local/pod:1", binary + ".missing"},
	} {
		if _, err := New(tt.ref, tt.binary, "amd64"); err == nil {
			t.Errorf("took %s of %s", tt.ref, tt.binary)
		}
	}
}
