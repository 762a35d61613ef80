package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

var mistakeRow = regexp.MustCompile("(?m)^\\| (\\S+\\.(?:rego|yaml)) \\| `(.*)` \\| (.*) \\|$")

// packages of the files in the table of mistakes.
var packages = map[string]string{"site.rego": "detnet.site", "site_test.rego": "detnet.site_test", "decision.rego": "detnet", "lib.rego": "detnet.sites"}

// Each mistake that the reference shows is refused with the message it shows.
func TestMistakesAreExplained(t *testing.T) {
	page, err := os.ReadFile("../../docs/reference/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := mistakeRow.FindAllStringSubmatch(string(page), -1)
	if len(rows) < 10 {
		t.Fatalf("the reference shows %d mistakes", len(rows))
	}
	for _, row := range rows {
		file, code, message := row[1], row[2], row[3]
		t.Run(code, func(t *testing.T) {
			content := code + "\n"
			if name := packages[file]; name != "" {
				content = "package " + name + "\n\n" + content
			}
			_, err := detnet(t, "", "check", "-d", policyDir(t, file, content))
			if err == nil {
				t.Fatal("it is taken")
			}
			pattern := strings.ReplaceAll(regexp.QuoteMeta(message), "…", ".*")
			if strings.Contains(message, "{…}") { // Rego's, not the table's
				pattern = regexp.QuoteMeta(message)
			}
			got := strings.Join(strings.Fields(err.Error()), " ")
			if !regexp.MustCompile("(?s)" + pattern + "$").MatchString(got) {
				t.Errorf("it says\n%s\nand the reference\n%s", got, message)
			}
		})
	}
}
