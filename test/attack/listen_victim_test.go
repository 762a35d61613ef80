package attack

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/test/attack/selfsigned"
)

// certificate is everybody's here: what is attacked is not the verification.
var certificate = selfsigned.Certificate("controller")

// buildVictim builds what is attacked without the race detector, whose own memory
// is many times the program's.
func buildVictim(t *testing.T) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "victim")
	if text, err := exec.Command("go", "build", "-race=false", "-o", file, "./victim").CombinedOutput(); err != nil {
		t.Fatalf("building the program to attack: %v: %s", err, text)
	}
	return file
}

// victim is a process that is attacked.
type victim struct {
	target, addr string
	pid          int
	stays        bool // whom it serves keeps a connection
	client       *http.Client
	stream       grpc.BidiStreamingClient[api.Assignment, api.Report] // of a controller that is there already
}

func startVictim(t *testing.T, file, target string) *victim {
	t.Helper()
	cmd := exec.Command(file, target)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the program that was attacked: %v", err)
		}
	})
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	v := &victim{target: target, addr: strings.TrimSpace(addr), pid: cmd.Process.Pid, stays: target != "metrics"}
	v.client = &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true,
	}}
	if target == "controllers" {
		v.stream = v.controller(t)
	}
	if err := v.serves(); err != nil {
		t.Fatalf("before the attack: %v", err)
	}
	return v
}

// controller opens a stream of reports, which ends with the test.
func (v *victim) controller(t *testing.T) grpc.BidiStreamingClient[api.Assignment, api.Report] {
	t.Helper()
	conn, stream, err := v.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return stream
}

func (v *victim) open(ctx context.Context) (*grpc.ClientConn, grpc.BidiStreamingClient[api.Assignment, api.Report], error) {
	creds := credentials.NewTLS(&tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{certificate}})
	conn, err := grpc.NewClient(v.addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		return nil, nil, err
	}
	stream, err := api.NewAgentClient(conn).Measure(ctx, grpc.WaitForReady(true))
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return conn, stream, nil
}

// serves asks for what the listener is there for, from the attacker's address.
func (v *victim) serves() error {
	switch v.target {
	case "metrics":
		return get(v.client, "http://"+v.addr+"/healthz", true)
	case "admission":
		return get(v.client, "https://"+v.addr+"/healthz", false)
	}
	if _, err := v.stream.Recv(); err != nil {
		return fmt.Errorf("the stream that was there ended: %w", err)
	}
	ctx, cancel := await.Within(context.Background(), patience)
	defer cancel()
	conn, stream, err := v.open(ctx)
	if err != nil {
		return fmt.Errorf("a new stream: %w", err)
	}
	defer conn.Close()
	_, err = stream.Recv()
	return err
}

// memory is the resident set now and at its largest, in octets.
func (v *victim) memory(t *testing.T) (now, peak uint64) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", v.pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		for name, to := range map[string]*uint64{"VmRSS": &now, "VmHWM": &peak} {
			if value, ok := strings.CutPrefix(line, name+":"); ok {
				if _, err := fmt.Sscanf(value, "%d kB", to); err != nil {
					t.Fatal(err)
				}
				*to <<= 10
			}
		}
	}
	return now, peak
}
