package vm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cavaliergopher/cpio"
	"github.com/klauspost/compress/zstd"
)

// Where a boot protocol header says where the kernel is inside a bzImage
// (Documentation/arch/x86/boot.rst, protocol 2.08).
const (
	setupSectors  = 0x1f1
	bootMagic     = 0x202
	payloadOffset = 0x248
	payloadLength = 0x24c
	sector        = 512
)

// vmlinux unpacks the ELF kernel of a bzImage: started directly, it needs no
// time to unpack itself under emulation.
func vmlinux(image []byte) ([]byte, error) {
	if len(image) < 2*sector || string(image[bootMagic:bootMagic+4]) != "HdrS" {
		return nil, errors.New("not a bzImage")
	}
	from := (int(image[setupSectors])+1)*sector + int(binary.LittleEndian.Uint32(image[payloadOffset:]))
	to := from + int(binary.LittleEndian.Uint32(image[payloadLength:]))
	if from > to || to > len(image) {
		return nil, errors.New("a bzImage whose payload lies outside of it")
	}
	unpack, err := zstd.NewReader(bytes.NewReader(image[from:to]))
	if err != nil {
		return nil, err
	}
	defer unpack.Close()
	elf, err := io.ReadAll(unpack)
	if len(elf) > 4 && string(elf[:4]) == "\x7fELF" {
		return elf, nil // four octets of size follow the stream, and are no stream
	}
	return nil, fmt.Errorf("unpack the kernel: %w", err)
}

// archiveOf is an initramfs with files by path; every folder on the way is made.
func archiveOf(files map[string][]byte) ([]byte, error) {
	var out bytes.Buffer
	w := cpio.NewWriter(&out)
	folders := map[string]bool{".": true}
	var folder func(string) error
	folder = func(name string) error {
		if folders[name] {
			return nil
		}
		folders[name] = true
		if err := folder(filepath.Dir(name)); err != nil {
			return err
		}
		return w.WriteHeader(&cpio.Header{Name: name, Mode: cpio.TypeDir | 0o755})
	}
	for _, name := range slices.Sorted(maps.Keys(files)) { // the same files give the same guest
		content := files[name]
		if err := folder(filepath.Dir(name)); err != nil {
			return nil, err
		}
		if err := w.WriteHeader(&cpio.Header{Name: name, Mode: cpio.TypeReg | 0o755, Size: int64(len(content))}); err != nil {
			return nil, err
		}
		if _, err := w.Write(content); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), w.Close()
}

// modules reads kernel modules by name, as they lie in the package.
func (p Parts) modules(names []string) (map[string][]byte, error) {
	files := map[string][]byte{}
	root, err := os.OpenRoot(filepath.Join(p.kernel, "usr/lib/modules"))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	err = fs.WalkDir(root.FS(), ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		for n, name := range names {
			if filepath.Base(path) == name+".ko.xz" {
				files[fmt.Sprintf("modules/%02d-%s.ko.xz", n, name)], err = root.ReadFile(path)
			}
		}
		return err
	})
	if err == nil && len(files) != len(names) {
		err = fmt.Errorf("the kernel's package has %d of the modules %s", len(files), strings.Join(names, ", "))
	}
	return files, err
}
