// Command victim serves one kind of detnet's listeners, with the code and the
// bounds of production, until its standard input ends: a process whose memory is
// its own.
package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/detnet/detnet/agent"
	"github.com/detnet/detnet/internal/listen"
	"github.com/detnet/detnet/test/attack/selfsigned"
	"github.com/detnet/detnet/webhook"
)

func main() {
	if err := serve(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "victim:", err)
		os.Exit(1)
	}
}

// serve serves as role says: metrics, admission or controllers.
func serve(role string) error {
	certificate := selfsigned.Certificate("controller")
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
