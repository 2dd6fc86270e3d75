module life

go 1.23

require tasques v0.0.0

replace tasques => ./client
