// Renders the chart as Helm does, with what of Helm the chart uses, and tells the documents as a list of JSON.
//
//	main CHART RELEASE VALUES    VALUES is a document of JSON that is laid over values.yaml
//	main -                       documents of YAML from standard input instead, as `helm template` writes them
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"gopkg.in/yaml.v3"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Of maps the keys of both, of all else the upper one.
func over(lower, upper any) any {
	below, isMap := lower.(map[string]any)
	above, isToo := upper.(map[string]any)
	if !isMap || !isToo {
		return upper
	}
	for key, value := range above {
		below[key] = over(below[key], value)
	}
	return below
}

type files struct{ chart string }

// Get is what templates call.
func (f files) Get(name string) (string, error) {
	text, err := os.ReadFile(filepath.Join(f.chart, name))
	return string(text), err
}

func number(of any) int {
	switch n := of.(type) {
	case int:
		return n
	case float64:
		return int(n)
	}
	return 0
}

var functions = template.FuncMap{
	"add":   func(a, b any) int { return number(a) + number(b) },
	"sub":   func(a, b any) int { return number(a) - number(b) },
	"div":   func(a, b any) int { return number(a) / number(b) },
	"int":   number,
	"quote": func(of any) string { return fmt.Sprintf("%q", fmt.Sprint(of)) },
	"indent": func(by int, text string) string {
		pad := strings.Repeat(" ", by)
		return pad + strings.ReplaceAll(text, "\n", "\n"+pad)
	},
	"toJson": func(of any) (string, error) {
		text, err := json.Marshal(of)
		return string(text), err
	},
	"until": func(count int) []int {
		all := make([]int, count)
		for i := range all {
			all[i] = i
		}
		return all
	},
}

func render(chart, release, values string) []byte {
	text, err := os.ReadFile(filepath.Join(chart, "values.yaml"))
	must(err)
	var lower, upper any
	must(yaml.Unmarshal(text, &lower))
	must(json.Unmarshal([]byte(values), &upper))
	with := map[string]any{
		"Release": map[string]any{"Name": release},
		"Values":  over(lower, upper),
		"Files":   files{chart},
	}
	var out bytes.Buffer
	names, err := filepath.Glob(filepath.Join(chart, "templates", "*.yaml"))
	must(err)
	for _, name := range names {
		text, err := os.ReadFile(name)
		must(err)
		parsed, err := template.New(name).Option("missingkey=error").Funcs(functions).Parse(string(text))
		must(err)
		out.WriteString("\n---\n")
		must(parsed.Execute(&out, with))
	}
	return out.Bytes()
}

func main() {
	var text []byte
	if os.Args[1] == "-" {
		read, err := io.ReadAll(os.Stdin)
		must(err)
		text = read
	} else {
		text = render(os.Args[1], os.Args[2], os.Args[3])
	}
	documents := []any{}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var document any
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			break
		}
		must(err)
		if document != nil {
			documents = append(documents, document)
		}
	}
	must(json.NewEncoder(os.Stdout).Encode(documents))
}
