package main

import (
	"crypto/x509"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	crane "github.com/google/go-containerregistry/cmd/crane/cmd"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// The test's own binary is crane where it is called so, as the commands do.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "crane" {
		if crane.Root.Execute() != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// documented returns the shell block of install.md that uses a tool.
func documented(t *testing.T, tool string) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/install.md")
	if err != nil {
		t.Fatal(err)
	}
	for n, block := range strings.Split(string(page), "```") {
		if n%2 == 1 && strings.Contains(block, "\n  "+tool+" ") {
			return block
		}
	}
	t.Fatalf("install.md has no commands for %s", tool)
	return ""
}

// The commands in install.md bring each of the four images under its own name into
// a registry, with the program that its name says.
func TestDocumentedPushes(t *testing.T) {
	work := t.TempDir()
	if err := os.MkdirAll(filepath.Join(work, "dist"), 0o755); err != nil {
		t.Fatal(err)
	}
	stand := func(dir, program string) error { // binaries that say who they are
		return os.WriteFile(filepath.Join(dir, program), []byte("I am "+program), 0o755)
	}
	binaries := t.TempDir()
	for _, program := range programs {
		if err := stand(binaries, program); err != nil {
			t.Fatal(err)
		}
	}
	if err := pack(filepath.Join(work, "dist", "detnet-images.tar"), binaries, "docker.io/detnet", "v0.1.0", "amd64"); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tools := t.TempDir()
	if err := os.Symlink(self, filepath.Join(tools, "crane")); err != nil {
		t.Fatal(err)
	}
	for _, tool := range []string{"crane", "skopeo"} {
		t.Run(tool, func(t *testing.T) {
			if _, err := exec.LookPath(tool); err != nil && tool != "crane" {
				t.Skip("no", tool)
			}
			server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
			defer server.Close()
			host := strings.TrimPrefix(server.URL, "http://")
			script := strings.ReplaceAll(documented(t, tool), "registry.example", host)
			if tool == "skopeo" {
				script = strings.ReplaceAll(script, "skopeo copy", "skopeo --insecure-policy copy --dest-tls-verify=false")
			}
			cmd := exec.CommandContext(t.Context(), "sh", "-ec", script)
			cmd.Dir = work
			cmd.Env = append(os.Environ(), "PATH="+tools+":"+os.Getenv("PATH"))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s\n%v\n%s", script, err, out)
			}
			for _, program := range programs {
				holds(t, host+"/detnet/"+program+":v0.1.0", program)
			}
		})
	}
}

// holds checks that an image in a registry is that of the program, with the
// authorities that Go looks for.
func holds(t *testing.T, reference, program string) {
	t.Helper()
	ref, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	img, err := remote.Image(ref)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil || len(config.Config.Entrypoint) != 1 || config.Config.Entrypoint[0] != "/"+program {
		t.Errorf("%s starts %v, %v", reference, config.Config.Entrypoint, err)
	}
	files := contents(t, img)
	if string(files[program]) != "I am "+program {
		t.Errorf("%s holds %q", reference, files[program])
	}
	if !x509.NewCertPool().AppendCertsFromPEM(files[rootsFile]) {
		t.Errorf("%s holds no certificate authorities", reference)
	}
}

func contents(t *testing.T, img v1.Image) map[string][]byte {
	t.Helper()
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	reader, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	return untar(t, reader)
}

// The authorities are those that public servers are vouched for by.
func TestPublicRoots(t *testing.T) {
	pem, err := publicRoots()
	if err != nil {
		t.Fatal(err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(pem) || strings.Count(string(pem), "BEGIN CERTIFICATE") < 80 {
		t.Errorf("%d authorities", strings.Count(string(pem), "BEGIN CERTIFICATE"))
	}
	for _, known := range []string{"ISRG Root X1", "Amazon Root CA 1"} {
		if !strings.Contains(string(pem), known) {
			t.Errorf("without %s", known)
		}
	}
}
