package config

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// secret marks values that come from env and file.
type secret struct{}

// miss is a variable or a file that is not there, noted offline.
type miss struct{ function, name, why string }

// readError is an error of env and file. Its text holds no secret.
type readError struct{ summary, detail string }

func (e *readError) Error() string { return e.detail }

// functions returns the functions that expressions may call.
func (l *loader) functions() map[string]function.Function {
	return map[string]function.Function{
		"env": l.envFunction(),
		"abs": stdlib.AbsoluteFunc, "ceil": stdlib.CeilFunc, "chomp": stdlib.ChompFunc, "coalesce": stdlib.CoalesceFunc,
		"coalescelist": stdlib.CoalesceListFunc, "compact": stdlib.CompactFunc, "concat": stdlib.ConcatFunc, "contains": stdlib.ContainsFunc,
		"csvdecode": stdlib.CSVDecodeFunc, "distinct": stdlib.DistinctFunc, "element": stdlib.ElementFunc, "flatten": stdlib.FlattenFunc,
		"floor": stdlib.FloorFunc, "format": stdlib.FormatFunc, "formatlist": stdlib.FormatListFunc, "indent": stdlib.IndentFunc,
		"index": stdlib.IndexFunc, "join": stdlib.JoinFunc, "jsondecode": stdlib.JSONDecodeFunc, "jsonencode": stdlib.JSONEncodeFunc,
		"keys": stdlib.KeysFunc, "length": stdlib.LengthFunc, "lookup": stdlib.LookupFunc, "lower": stdlib.LowerFunc, "max": stdlib.MaxFunc,
		"merge": stdlib.MergeFunc, "min": stdlib.MinFunc, "parseint": stdlib.ParseIntFunc, "range": stdlib.RangeFunc, "regex": stdlib.RegexFunc,
		"regexall": stdlib.RegexAllFunc, "regexreplace": stdlib.RegexReplaceFunc, "replace": stdlib.ReplaceFunc, "reverse": stdlib.ReverseListFunc,
		"setintersection": stdlib.SetIntersectionFunc, "setsubtract": stdlib.SetSubtractFunc, "setunion": stdlib.SetUnionFunc,
		"slice": stdlib.SliceFunc, "sort": stdlib.SortFunc, "split": stdlib.SplitFunc, "strlen": stdlib.StrlenFunc, "strrev": stdlib.ReverseFunc,
		"substr": stdlib.SubstrFunc, "title": stdlib.TitleFunc, "tobool": stdlib.MakeToFunc(cty.Bool), "tolist": stdlib.MakeToFunc(cty.List(cty.DynamicPseudoType)),
		"tomap": stdlib.MakeToFunc(cty.Map(cty.DynamicPseudoType)), "tonumber": stdlib.MakeToFunc(cty.Number), "toset": stdlib.MakeToFunc(cty.Set(cty.DynamicPseudoType)),
		"tostring": stdlib.MakeToFunc(cty.String), "trim": stdlib.TrimFunc, "trimprefix": stdlib.TrimPrefixFunc, "trimspace": stdlib.TrimSpaceFunc,
		"trimsuffix": stdlib.TrimSuffixFunc, "upper": stdlib.UpperFunc, "values": stdlib.ValuesFunc, "zipmap": stdlib.ZipmapFunc,
	}
}

// missingError says that there is no such variable or file.
type missingError struct{ name, summary, why, remedy string }

func (e *missingError) Error() string { return e.why }

// reader is a function of one string whose result is a secret. A missing variable
// or file is noted offline, and an error otherwise.
func (l *loader) reader(called, parameter string, read func(string) (string, *missingError)) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: parameter, Type: cty.String, AllowMarked: true}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			argument, marks := args[0].Unmark()
			text, missing := read(argument.AsString())
			if missing == nil {
				return cty.StringVal(text).Mark(secret{}), nil
			}
			if len(marks) > 0 {
				missing = &missingError{"", "Value cannot be read", "The variable or file that a value from env() or file() names cannot be read; its name is not shown.", ""}
			}
			if l.options.Offline {
				l.missing = append(l.missing, miss{called, missing.name, missing.why})
				return cty.UnknownVal(cty.String).Mark(secret{}), nil
			}
			return cty.NilVal, &readError{missing.summary, strings.TrimSpace(missing.why + " " + missing.remedy)}
		},
	})
}

// envFunction is env("NAME"): an environment variable.
func (l *loader) envFunction() function.Function {
	return l.reader("env", "name", func(name string) (string, *missingError) {
		if value, ok := l.options.Env(name); ok {
			return value, nil
		}
		return "", &missingError{
			name, "Environment variable not set", fmt.Sprintf("The environment variable %s is not set.", name),
			"Set it, or take the value from elsewhere.",
		}
	})
}

// fileFunction is file("path"): a file's text without its last newlines.
// Relative paths are relative to the file they stand in.
func (l *loader) fileFunction(dir string) function.Function {
	return l.reader("file", "path", func(path string) (string, *missingError) {
		full := path
		if !filepath.IsAbs(path) {
			full = filepath.Join(dir, path)
		}
		data, err := readFile(full)
		if err == nil {
			return strings.TrimRight(string(data), "\r\n"), nil
		}
		return "", &missingError{
			path, "File cannot be read", fmt.Sprintf("The file %s cannot be read: %s.", full, reason(err)),
			"A relative path is relative to the configuration file that it stands in.",
		}
	})
}
