module others

go 1.21

require github.com/go-chassis/go-chassis/v2 v2.8.0
