package main

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// A cipher is one way to cipher, and the field of a message for what comes out.
type cipher struct {
	field string
	apply func(plain string) string
}

// By the kinds of the tasks.
var ciphers = map[string]cipher{
	"Rot1":  {"rot_1", func(plain string) string { return rotate(plain, 1) }},
	"Rot13": {"rot_13", func(plain string) string { return rotate(plain, 13) }},
	"Base64": {"base_64", func(plain string) string {
		return base64.StdEncoding.EncodeToString([]byte(plain))
	}},
	"Md5": {"md_5", func(plain string) string {
		sum := md5.Sum([]byte(plain))
		return hex.EncodeToString(sum[:])
	}},
}

// rotate moves the letters of the alphabet, and nothing else.
func rotate(plain string, by rune) string {
	return strings.Map(func(letter rune) rune {
		switch {
		case 'a' <= letter && letter <= 'z':
			return 'a' + (letter-'a'+by)%26
		case 'A' <= letter && letter <= 'Z':
			return 'A' + (letter-'A'+by)%26
		}
		return letter
	}, plain)
}
