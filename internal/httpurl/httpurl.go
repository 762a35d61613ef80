// Package httpurl judges the URLs of servers that detnet asks.
package httpurl

import "net/url"

// Encrypted reports whether a URL is one of https: schemes are told in either case. Secrets go
// nowhere else.
func Encrypted(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Scheme == "https"
}
