package vm

import (
	"context"
	"log/slog"
	"path/filepath"

	"github.com/detnet/detnet/test/fq/debian"
)

// packages are QEMU, which boots an ELF kernel on a microvm, and a kernel whose fq
// has bands (Linux 6.7).
var packages = debian.Set{Package: "qemu-system-x86", Root: "qemu", Meta: "linux-image-cloud-amd64", Alone: "linux"}

// Parts are the unpacked packages.
type Parts struct {
	root   string // of QEMU and every library it needs
	kernel string // of the kernel's package
}

// EnsureParts unpacks the packages below dir unless that was done before.
func EnsureParts(ctx context.Context, dir string, log *slog.Logger) (Parts, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Parts{}, err
	}
	return Parts{filepath.Join(dir, packages.Root), filepath.Join(dir, packages.Alone)}, packages.Ensure(ctx, dir, log)
}
