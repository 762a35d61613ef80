package attack

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/detnet/detnet/agent"
	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/internal/listen"
	"github.com/detnet/detnet/webhook"
)

// victimRole has this test's own program serve one kind of listener, as a
// process whose memory is its own.
const victimRole = "DETNET_TEST_VICTIM"

func TestMain(m *testing.M) {
	if role := os.Getenv(victimRole); role != "" {
		if err := serveVictim(role); err != nil {
			fmt.Fprintln(os.Stderr, "victim:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// serveVictim serves until its standard input ends.
func serveVictim(role string) error {
	ctx, stop := context.WithCancel(context.Background())
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); stop() }()
	limits := listen.Few
	if role == "admission" {
		limits = listen.Many
	}
	log := slog.New(slog.DiscardHandler)
	l, err := listen.TCP(ctx, role, "127.0.0.1:0", limits, log, nil)
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.Handle("POST /mutate", &webhook.Guard{Log: log, Metrics: webhook.NewMetrics(prometheus.NewRegistry())})
	switch role {
	case "metrics":
		return l.Serve(ctx, mux)
	case "admission":
		config := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{certificate}}
		return (&webhook.Server{Handler: mux, TLS: config, Log: log, Grace: 10 * time.Second, ConnState: l.Track}).Serve(ctx, l)
	}
	server := &agent.Server{Node: "n1", Metrics: agent.NewMetrics(prometheus.NewRegistry()), Log: log}
	g := grpc.NewServer(append(agent.Bounds(), grpc.Creds(l.Proving(credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAnyClientCert,
		VerifyConnection: func(s tls.ConnectionState) error {
			if s.PeerCertificates[0].Subject.CommonName != "controller" {
				return fmt.Errorf("the certificate of %s is not the controller's", s.PeerCertificates[0].Subject)
			}
			return nil
		},
	}))))...)
	server.Register(g)
	defer context.AfterFunc(ctx, g.Stop)()
	return g.Serve(l)
}

// certificate is everybody's here: what is attacked is not the verification.
var certificate = selfSigned("controller")

func selfSigned(name string) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// victim is a process that is attacked.
type victim struct {
	target, addr string
	pid          int
	stays        bool // whom it serves keeps a connection
	client       *http.Client
	stream       grpc.BidiStreamingClient[api.Assignment, api.Report] // of a controller that is there already
}

func startVictim(t *testing.T, target string) *victim {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimRole+"="+target)
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
	v.client = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
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
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
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
