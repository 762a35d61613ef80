package httpurl

import "testing"

// A scheme is told in either case, and an address may have a zone.
func TestEncrypted(t *testing.T) {
	for text, want := range map[string]bool{
		"https://host/b":                     true,
		"HTTPS://host/b":                     true,
		"Https://[::ffff:192.0.2.1%25eth0]/": true,
		"http://host/b":                      false,
		"HTTP://[fe80::1%25eth0]:8080/b":     false,
		"httpsx://host/b":                    false,
		"https://[fe80::1%eth0]/":            false,
		"":                                   false,
	} {
		if got := Encrypted(text); got != want {
			t.Errorf("%s: encrypted %v, want %v", text, got, want)
		}
	}
}
