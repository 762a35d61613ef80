// Command image builds detnet's programs and packs each into a container image,
// all in one tarball, an OCI layout under their full names, and each in one of its
// own beside it, for tools that take one image a file. It needs the go command and
// nothing else: no daemon, no registry, no base image.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/detnet/detnet/test/sandbox/image"
)

func main() { os.Exit(run()) }

func run() int {
	out := flag.String("o", "detnet-images.tar", "tarball to write; binaries are kept beside it for the next time")
	tag := flag.String("tag", "dev", "tag of the images")
	registry := flag.String("registry", "docker.io/detnet", "what the images' names begin with")
	arch := flag.String("arch", runtime.GOARCH, "architecture, as GOARCH")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := makeImages(ctx, *out, *registry, *tag, *arch); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		return 1
	}
	return 0
}

// nonroot is the uid and gid that the chart asks for.
const nonroot = "65532:65532"

var programs = []string{"detnet-webhook", "detnet-controller", "detnet-agent", "detnet"}

func makeImages(ctx context.Context, out, registry, tag, arch string) error {
	binaries := filepath.Join(filepath.Dir(out), "image-bin", arch)
	if err := build(ctx, binaries, programs, arch, tag); err != nil {
		return err
	}
	return pack(out, binaries, registry, tag, arch)
}

// pack writes the archive of all images, and beside it one of each.
func pack(out, binaries, registry, tag, arch string) error {
	roots, err := publicRoots()
	if err != nil {
		return err
	}
	var images []image.Image
	for _, program := range programs {
		img, err := image.New(fmt.Sprintf("%s/%s:%s", registry, program, tag), filepath.Join(binaries, program), arch)
		if err != nil {
			return err
		}
		img.User = nonroot
		img.Files = map[string][]byte{rootsFile: roots}
		img.Labels = map[string]string{
			"org.opencontainers.image.title":    program,
			"org.opencontainers.image.source":   "https://github.com/detnet/detnet",
			"org.opencontainers.image.licenses": "Apache-2.0",
		}
		images = append(images, img)
	}
	archives := map[string][]image.Image{out: images}
	for n, program := range programs {
		archives[filepath.Join(filepath.Dir(out), program+".tar")] = images[n : n+1]
	}
	for _, path := range slices.Sorted(maps.Keys(archives)) {
		if image.UpToDate(path, archives[path]...) {
			fmt.Println(path, "is up to date")
			continue
		}
		if err := image.Write(path, archives[path]...); err != nil {
			return err
		}
		fmt.Println("wrote", path)
	}
	return nil
}

// build leaves static binaries of the programs in dir. The go command does not
// touch those that would come out the same.
func build(ctx context.Context, dir string, programs []string, arch, version string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("build the programs: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("build the programs: %w", err)
	}
	root, err := moduleRoot(ctx)
	if err != nil {
		return fmt.Errorf("build the programs: %w", err)
	}
	// Neither paths nor the state of the checkout get into the binaries: the
	// same source gives the same image.
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -X main.version=" + version, "-o", dir + string(filepath.Separator)}
	for _, program := range programs {
		args = append(args, "./cmd/"+program)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOFLAGS=")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build %s: %w", strings.Join(programs, ", "), err)
	}
	return nil
}

// moduleRoot finds detnet's own module from this one, which replaces it by its
// folder.
func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/detnet/detnet").Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return "", fmt.Errorf("find the module (run this in the folder test): %w: %s", err, exit.Stderr)
	}
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}
