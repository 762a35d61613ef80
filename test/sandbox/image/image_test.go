package image

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func TestWriteArchive(t *testing.T) {
	dir := t.TempDir()
	binary, archive := filepath.Join(dir, "pause"), filepath.Join(dir, "pause.tar")
	if err := os.WriteFile(binary, []byte("program"), 0o700); err != nil {
		t.Fatal(err)
	}
	const ref = "detnet.local/pause:1"
	if err := WriteArchive(archive, ref, binary); err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(ref)
	if err != nil {
		t.Fatal(err)
	}
	img, err := tarball.ImageFromPath(archive, &tag)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if got := config.Config.Entrypoint; len(got) != 1 || got[0] != "/pause" || config.OS != "linux" || config.Architecture == "" {
		t.Errorf("the image is configured as %+v", config)
	}
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	files := tar.NewReader(content)
	header, err := files.Next()
	if err != nil {
		t.Fatal(err)
	}
	data, _ := io.ReadAll(files)
	if header.Name != "pause" || header.Mode != 0o755 || string(data) != "program" {
		t.Errorf("the layer holds %s, mode %o, %q", header.Name, header.Mode, data)
	}
	if _, err := files.Next(); err != io.EOF {
		t.Errorf("the layer goes on: %v", err)
	}
}

// Nodes that load the image twice must see that it is the same.
func TestWriteArchiveIsReproducible(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "b")
	if err := os.WriteFile(binary, []byte("program"), 0o755); err != nil {
		t.Fatal(err)
	}
	var archives [2][]byte
	for i := range archives {
		path := filepath.Join(dir, "a.tar")
		if err := WriteArchive(path, "detnet.local/b:1", binary); err != nil {
			t.Fatal(err)
		}
		archives[i], _ = os.ReadFile(path)
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("the same binary gives two images")
	}
}

func TestWriteArchiveRefuses(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "b")
	if err := os.WriteFile(binary, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ ref, binary string }{
		{"no-tag", binary},
		{"UPPER:1", binary},
		{"detnet.local/b:1", filepath.Join(dir, "missing")},
	} {
		if err := WriteArchive(filepath.Join(dir, "a.tar"), tt.ref, tt.binary); err == nil {
			t.Errorf("%s from %s is accepted", tt.ref, tt.binary)
		}
	}
}
