// Package image packs static binaries into container images, one file each, in
// an OCI-layout tarball that containerd imports under their names. It needs no
// daemon, no registry and no base image.
package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Annotations in the index. The first two are how containerd, and the others
// that follow the OCI image layout, learn an image's name: the full one in both,
// since all images of an archive have the same tag. The third is how UpToDate
// knows what is inside.
const (
	containerdName = "io.containerd.image.name"
	referenceName  = "org.opencontainers.image.ref.name"
	binaryDigest   = "dev.detnet.binary"
)

// Image is one program to be packed. Set what is exported before it is written.
type Image struct {
	User   string            // uid:gid that the program runs as; empty for root
	Labels map[string]string // of the image's configuration
	Files  map[string][]byte // besides the program, by path without the leading slash
	tag    name.Tag
	binary string // path
	arch   string
	digest string // of the binary, hex SHA-256
}

// New names an image whose only file is the static binary, at the root and
// under its own base name, which is also the entrypoint. The name is full, such
// as detnet.local/pause:1, and arch is what GOARCH calls it.
func New(ref, binary, arch string) (Image, error) {
	tag, err := name.NewTag(ref, name.StrictValidation)
	if err != nil {
		return Image{}, fmt.Errorf("image %s: %w", ref, err)
	}
	file, err := os.Open(binary)
	if err != nil {
		return Image{}, fmt.Errorf("image %s: %w", ref, err)
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return Image{}, fmt.Errorf("image %s: read %s: %w", ref, binary, err)
	}
	return Image{tag: tag, binary: binary, arch: arch, digest: hex.EncodeToString(hash.Sum(nil))}, nil
}

// String is the full name, as containerd writes it: the default registry is
// docker.io there and index.docker.io in go-containerregistry.
func (i Image) String() string {
	registry := i.tag.RegistryStr()
	if registry == name.DefaultRegistry {
		registry = "docker.io"
	}
	return registry + "/" + i.tag.RepositoryStr() + ":" + i.tag.TagStr()
}

func (i Image) annotations() map[string]string {
	return map[string]string{containerdName: i.String(), referenceName: i.String(), binaryDigest: i.contents()}
}

// contents is a digest of all that is in the image.
func (i Image) contents() string {
	hash := sha256.New()
	fmt.Fprintf(hash, "%s", i.digest)
	for _, path := range slices.Sorted(maps.Keys(i.Files)) {
		fmt.Fprintf(hash, "\n%s %x", path, sha256.Sum256(i.Files[path]))
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// pack makes the image: the binary at the root, and the files. Times and
// owners stay zero, so that the same binary gives the same image.
func (i Image) pack() (v1.Image, error) {
	program := filepath.Base(i.binary)
	content, err := os.ReadFile(i.binary)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := writeFile(w, program, 0o755, content); err != nil {
		return nil, err
	}
	for _, path := range slices.Sorted(maps.Keys(i.Files)) {
		if err := writeFile(w, path, 0o644, i.Files[path]); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(
		func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(gzip.BestSpeed), tarball.WithCompressedCaching)
	if err != nil {
		return nil, err
	}
	config := &v1.ConfigFile{
		OS:           "linux",
		Architecture: i.arch,
		Config: v1.Config{
			Entrypoint: []string{"/" + program},
			User:       i.User,
			Labels:     i.Labels,
		},
		RootFS: v1.RootFS{Type: "layers"},
	}
	base, err := mutate.ConfigFile(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), config)
	if err != nil {
		return nil, err
	}
	return mutate.AppendLayers(base, layer)
}

// Write writes the tarball. It is complete or not there.
func Write(path string, images ...Image) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write the images: %w", err)
	}
	partial := file.Name()
	defer func() {
		if err != nil {
			_ = os.Remove(partial)
		}
	}()
	if err := writeLayout(file, images); err != nil {
		file.Close()
		return fmt.Errorf("write the images to %s: %w", partial, err)
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("write the images: %w", err)
	}
	if err := os.Rename(partial, path); err != nil {
		return fmt.Errorf("write the images: %w", err)
	}
	return nil
}

// writeLayout writes an OCI image layout, the index first, where UpToDate
// finds it without reading the rest.
func writeLayout(out io.Writer, images []Image) error {
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	var packed []v1.Image
	for _, i := range images {
		img, err := i.pack()
		if err != nil {
			return fmt.Errorf("pack %s: %w", i, err)
		}
		descriptor, err := describe(i, img)
		if err != nil {
			return fmt.Errorf("describe %s: %w", i, err)
		}
		index.Manifests = append(index.Manifests, descriptor)
		packed = append(packed, img)
	}
	indexJSON, err := json.Marshal(index)
	if err != nil {
		return err
	}
	w := tar.NewWriter(out)
	if err := writeFile(w, "index.json", 0o644, indexJSON); err != nil {
		return err
	}
	if err := writeDockerManifest(w, images, packed); err != nil {
		return err
	}
	if err := writeFile(w, "oci-layout", 0o644, []byte(`{"imageLayoutVersion":"1.0.0"}`)); err != nil {
		return err
	}
	for n, img := range packed {
		if err := writeBlobs(w, img); err != nil {
			return fmt.Errorf("write %s: %w", images[n], err)
		}
	}
	return w.Close()
}

// writeDockerManifest names the same blobs for those that read what "docker save"
// writes and not OCI layouts: docker load, crane.
func writeDockerManifest(w *tar.Writer, images []Image, packed []v1.Image) error {
	var manifest tarball.Manifest
	blob := func(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }
	for n, img := range packed {
		config, err := img.ConfigName()
		if err != nil {
			return err
		}
		layers, err := img.Layers()
		if err != nil {
			return err
		}
		entry := tarball.Descriptor{Config: blob(config), RepoTags: []string{images[n].String()}}
		for _, layer := range layers {
			digest, err := layer.Digest()
			if err != nil {
				return err
			}
			entry.Layers = append(entry.Layers, blob(digest))
		}
		manifest = append(manifest, entry)
	}
	text, err := json.Marshal(manifest)
	if err != nil {
		return err
	}
	return writeFile(w, "manifest.json", 0o644, text)
}

func describe(i Image, img v1.Image) (v1.Descriptor, error) {
	manifest, err := img.RawManifest()
	if err != nil {
		return v1.Descriptor{}, err
	}
	digest, err := img.Digest()
	if err != nil {
		return v1.Descriptor{}, err
	}
	return v1.Descriptor{
		MediaType:   types.OCIManifestSchema1,
		Size:        int64(len(manifest)),
		Digest:      digest,
		Platform:    &v1.Platform{OS: "linux", Architecture: i.arch},
		Annotations: i.annotations(),
	}, nil
}

func writeBlobs(w *tar.Writer, img v1.Image) error {
	manifest, err := img.RawManifest()
	if err != nil {
		return err
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return err
	}
	blobs := [][]byte{manifest, config}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for _, layer := range layers {
		compressed, err := layer.Compressed()
		if err != nil {
			return err
		}
		blob, err := io.ReadAll(compressed)
		if err != nil {
			return err
		}
		blobs = append(blobs, blob)
	}
	for _, blob := range blobs {
		sum := sha256.Sum256(blob)
		if err := writeFile(w, "blobs/sha256/"+hex.EncodeToString(sum[:]), 0o644, blob); err != nil {
			return err
		}
	}
	return nil
}

func writeFile(w *tar.Writer, name string, mode int64, content []byte) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content)), ModTime: time.Unix(0, 0)}
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	_, err := w.Write(content)
	return err
}

// UpToDate reports whether the tarball at path holds exactly these images.
func UpToDate(path string, images ...Image) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	r := tar.NewReader(file)
	if header, err := r.Next(); err != nil || header.Name != "index.json" {
		return false
	}
	var index v1.IndexManifest
	if err := json.NewDecoder(r).Decode(&index); err != nil || len(index.Manifests) != len(images) {
		return false
	}
	for n, i := range images {
		has := index.Manifests[n]
		if has.Platform == nil || has.Platform.Architecture != i.arch {
			return false
		}
		for key, want := range i.annotations() {
			if has.Annotations[key] != want {
				return false
			}
		}
	}
	return true
}
