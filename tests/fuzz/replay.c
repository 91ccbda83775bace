/*
 * Plays a folder of inputs through a fuzz target, in every build that has no libFuzzer:
 *
 *     x_fuzz tests/fuzz/x
 *
 * Each input stands in memory of exactly its size, so that the address sanitizer sees one byte too many.
 */
#include "testing/fuzz.h"

#include <dirent.h>
#include <sys/stat.h>

static int only_files(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

static void play(const char *path)
{
    FILE *f = fopen(path, "rb");
    struct stat about;

    if (!f || fstat(fileno(f), &about) != 0) {
        perror(path);
        exit(1);
    }
    size_t size = (size_t)about.st_size;
    uint8_t *data = malloc(size ? size : 1);
    if (!data || fread(data, 1, size, f) != size) {
        fprintf(stderr, "%s: cannot be read\n", path);
        exit(1);
    }
    fclose(f);
    fprintf(stderr, "%s\n", path);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
}

int main(int argc, char **argv)
{
    struct dirent **entries;
    int count = argc == 2 ? scandir(argv[1], &entries, only_files, alphasort) : -1;

    if (count <= 0) {
        fprintf(stderr, "usage: %s FOLDER (with at least one input)\n", argv[0]);
        return 1;
    }
    for (int i = 0; i < count; i++) {
        char path[4096];
        snprintf(path, sizeof(path), "%s/%s", argv[1], entries[i]->d_name);
        play(path);
        free(entries[i]);
    }
    free(entries);
    return 0;
}
