package attack

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/detnet/detnet/certs"
	"github.com/detnet/detnet/test/attack/selfsigned"
)

// The API server shows a certificate, as docs/install.md has it by an
// AdmissionConfiguration, and is answered; nobody else is, who reaches the webhook.
func TestOnlyTheAPIServerIsAnswered(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	mine := selfsigned.Certificate("kube-apiserver")
	key, err := x509.MarshalPKCS8PrivateKey(mine.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	authority := write("apiserver.crt", string(pemOf(mine)))
	keyFile := write("apiserver.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	kubeconfig := write("detnet.kubeconfig", fmt.Sprintf(`apiVersion: v1
kind: Config
users:
  - name: detnet-webhook.detnet.svc
    user: {client-certificate: %s, client-key: %s}
`, authority, keyFile))
	plugins := write("admission.yaml", fmt.Sprintf(`apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
  - name: MutatingAdmissionWebhook
    configuration:
      apiVersion: apiserver.config.k8s.io/v1
      kind: WebhookAdmissionConfiguration
      kubeConfigFile: %s
`, kubeconfig))
	callers := certs.Callers{Files: []string{authority}, Names: []string{"kube-apiserver"}}
	// Ends only once a pod came out with its class: the API server was answered.
	policeAt(t, "443", callers.Require, "admission-control-config-file="+plugins)

	for name, shown := range map[string][]tls.Certificate{
		"nothing":               nil,
		"another's certificate": {selfsigned.Certificate("kube-apiserver")},
		"the webhook's own":     {webhookCertificate},
	} {
		conn, err := tls.Dial("tcp", net.JoinHostPort(serviceAddress, "443"), &tls.Config{InsecureSkipVerify: true, Certificates: shown}) //nolint:gosec // the server judges here
		if err == nil {
			_, err = conn.Read(make([]byte, 1)) // TLS 1.3 says so after the handshake
			conn.Close()
		}
		if err == nil {
			t.Errorf("who shows %s is answered", name)
		}
	}
}
