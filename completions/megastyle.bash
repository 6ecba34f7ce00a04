# bash completion for megastyle; made by: megastyle completion bash
_megastyle() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
    local word command="" flags="" words="" files=yes ended=""
    # readline cuts --flag=value into three words
    [ "$cur" != = ] || cur=""
    [ "$prev" != = ] || prev=${COMP_WORDS[COMP_CWORD-2]}
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case $word in
            --) ended=yes prev="" ;;
            -*) ;;
            *) command=${command:-$word} ;;
        esac
    done
    case $command in
        "") words="caption dedup cluster pair synth train-encoder train-flux transfer retrieve eval ls status doctor completion help" flags="-V --version -h --help" files=no ;;
        caption)
            flags="--max-item-size --kind --schema --min-confidence --per-attribute --attempts --judge --show-instructions -o --output --errors --max-errors --json --resume --overwrite --force --shard --shard-offset --limit --paths -0 --null --backend --model --base-url --concurrency --timeout --retries --max-side --device --dtype --batch-size --stats -n --dry-run -q --quiet -v --verbose -h --help"
            case $prev in
                --kind) words="style content both" flags="" files=no ;;
                --schema) words="v1 v2" flags="" files=no ;;
                --dtype) words="float32 bfloat16" flags="" files=no ;;
                -o|--output|--errors|--stats) flags="" ;;
                --max-item-size|--min-confidence|--attempts|--max-errors|--shard|--shard-offset|--limit|--backend|--model|--base-url|--concurrency|--timeout|--retries|--max-side|--device|--batch-size) flags="" files=no ;;
            esac
            ;;
        dedup)
            flags="--max-item-size -o --output --errors --max-errors --on --preset --exact --no-exact --exact-text --near --no-near --near-threshold --ngram --ngram-of --semantic --no-semantic --semantic-threshold --semantic-recall --embedder --keep --report --rejected --overwrite --limit --cache --backend --model --engine --workers --stats -n --dry-run -q --quiet -v --verbose -h --help"
            case $prev in
                --preset) words="styles contents nemo" flags="" files=no ;;
                --exact-text) words="normalized raw" flags="" files=no ;;
                --ngram-of) words="words characters" flags="" files=no ;;
                --embedder) words="static verified sentence" flags="" files=no ;;
                --keep) words="first longest hard easy" flags="" files=no ;;
                --engine) words="local ray" flags="" files=no ;;
                -o|--output|--errors|--report|--rejected|--cache|--stats) flags="" ;;
                --max-item-size|--max-errors|--on|--near-threshold|--ngram|--semantic-threshold|--semantic-recall|--limit|--backend|--model|--workers) flags="" files=no ;;
            esac
            ;;
        cluster)
            flags="--max-item-size -o --output --errors --max-errors --on --levels --sample --members --resample --vectors --vectors-from --xy --overwrite --limit --seed --engine --workers --cache --backend --model --device --sheet --page --stats -n --dry-run -q --quiet -v --verbose -h --help"
            case $prev in
                --members) words="random nearest" flags="" files=no ;;
                --engine) words="local ray" flags="" files=no ;;
                -o|--output|--errors|--vectors|--vectors-from|--cache|--sheet|--page|--stats) flags="" ;;
                --max-item-size|--max-errors|--on|--levels|--sample|--resample|--limit|--seed|--workers|--backend|--model|--device) flags="" files=no ;;
            esac
            ;;
        pair)
            flags="--max-item-size --contents --per-style --contents-per-style --max-uses --ids -o --output --errors --max-errors --overwrite --limit --seed --stats -n --dry-run -q --quiet -v --verbose -h --help"
            case $prev in
                --ids) words="parents official" flags="" files=no ;;
                --contents|-o|--output|--errors|--stats) flags="" ;;
                --max-item-size|--per-style|--contents-per-style|--max-uses|--max-errors|--limit|--seed) flags="" files=no ;;
            esac
            ;;
        synth)
            flags="--max-item-size -o --output --errors --max-errors --size --strength --format --picture-format --quality --shard-size --model --preset --lora --lora-strength --steps --guidance --negative --quantize --reject-blank --reject-duplicates --nsfw --max-nsfw --min-style-score --style-against --style-model --rejects --resume --overwrite --force --shard --shard-offset --limit --seed --backend --device --dtype --offload --compile --batch-size --sheet --page --stats -n --dry-run -q --quiet -v --verbose -h --help"
            case $prev in
                --format) words="folder webdataset parquet" flags="" files=no ;;
                --picture-format) words="png jpg webp" flags="" files=no ;;
                --preset) words="lightning" flags="" files=no ;;
                --quantize) words="int8 fp8 nf4" flags="" files=no ;;
                --style-against) words="others reference" flags="" files=no ;;
                --dtype) words="float32 bfloat16" flags="" files=no ;;
                --offload) words="model layers" flags="" files=no ;;
                -o|--output|--errors|--lora|--rejects|--sheet|--page|--stats) flags="" ;;
                --max-item-size|--max-errors|--size|--strength|--quality|--shard-size|--model|--lora-strength|--steps|--guidance|--negative|--nsfw|--max-nsfw|--min-style-score|--style-model|--shard|--shard-offset|--limit|--seed|--backend|--device|--batch-size) flags="" files=no ;;
            esac
            ;;
        train-encoder)
            flags="--max-item-size -o --output --init --text-model --pack --label --content-label --holdout --split-key --global-batch --images-per-style --chunk --temperature --text-weight --epochs --steps --optimizer --lr --warmup --schedule --weight-decay --clip --ema --flip/--no-flip --crop --dtype --recompute --compile --checkpoint-every --validate-every --export-dtype --max-errors --resume --overwrite --force --limit --seed --stats -n --dry-run -q --quiet -v --verbose -h --help"
            case $prev in
                --optimizer) words="adamw sgd" flags="" files=no ;;
                --schedule) words="cosine linear constant" flags="" files=no ;;
                --dtype) words="auto float32 bfloat16" flags="" files=no ;;
                --export-dtype) words="float32 float16 bfloat16" flags="" files=no ;;
                -o|--output|--pack|--stats) flags="" ;;
                --max-item-size|--init|--text-model|--label|--content-label|--holdout|--split-key|--global-batch|--images-per-style|--chunk|--temperature|--text-weight|--epochs|--steps|--lr|--warmup|--weight-decay|--clip|--ema|--crop|--recompute|--checkpoint-every|--validate-every|--max-errors|--limit|--seed) flags="" files=no ;;
            esac
            ;;
        train-flux)
            flags="--max-item-size -o --output --pack --model --init --full --lora --rank --alpha --targets --quantize --label --holdout --split-key --size --global-batch --chunk --steps --optimizer --lr --warmup --schedule --weight-decay --clip --ema --timesteps --loss-weight --guidance --augment/--no-augment --dtype --recompute --encode-text --compile --checkpoint-every --validate-every --sample-every --samples --export-dtype --max-errors --resume --overwrite --force --limit --seed --stats -n --dry-run -q --quiet -v --verbose -h --help"
            case $prev in
                --quantize) words="int8 fp8 nf4" flags="" files=no ;;
                --optimizer) words="adamw adamw8bit" flags="" files=no ;;
                --schedule) words="constant cosine linear official" flags="" files=no ;;
                --timesteps) words="megastyle logit-normal sigmoid flux-shift uniform" flags="" files=no ;;
                --loss-weight) words="bell none" flags="" files=no ;;
                --dtype) words="auto float32 bfloat16" flags="" files=no ;;
                --encode-text) words="auto beside first" flags="" files=no ;;
                --export-dtype) words="bfloat16 float16 float32" flags="" files=no ;;
                -o|--output|--pack|--init|--lora|--stats) flags="" ;;
                --max-item-size|--model|--rank|--alpha|--targets|--label|--holdout|--split-key|--size|--global-batch|--chunk|--steps|--lr|--warmup|--weight-decay|--clip|--ema|--guidance|--recompute|--checkpoint-every|--validate-every|--sample-every|--samples|--max-errors|--limit|--seed) flags="" files=no ;;
            esac
            ;;
        transfer)
            flags="--max-item-size -o --output --errors --max-errors --style --weight --content --prompt --size --strength --model --lora --lora-strength --to --steps --guidance --content-strength --keep-aspect --format --picture-format --quality --shard-size --resume --overwrite --force --shard --shard-offset --limit --seed --backend --device --dtype --offload --quantize --preset --compile --batch-size --sheet --page --stats -n --dry-run -q --quiet -v --verbose -h --help"
            case $prev in
                --to) words="official diffsynth diffusers peft" flags="" files=no ;;
                --format) words="folder webdataset parquet" flags="" files=no ;;
                --picture-format) words="png jpg webp" flags="" files=no ;;
                --dtype) words="float32 bfloat16" flags="" files=no ;;
                --offload) words="modulation model layers" flags="" files=no ;;
                --quantize) words="int8 fp8 nf4" flags="" files=no ;;
                --preset) words="fast-cache" flags="" files=no ;;
                -o|--output|--errors|--style|--content|--lora|--sheet|--page|--stats) flags="" ;;
                --max-item-size|--max-errors|--weight|--prompt|--size|--strength|--model|--lora-strength|--steps|--guidance|--content-strength|--quality|--shard-size|--shard|--shard-offset|--limit|--seed|--backend|--device|--batch-size) flags="" files=no ;;
            esac
            ;;
        retrieve)
            flags="--max-item-size --index --add --prune --top --keep-self --prototype --prototype-by --text --text-key --score --method -o --output --errors --max-errors --json --resume --overwrite --force --shard --shard-offset --limit --paths -0 --null --backend --model --device --dtype --batch-size --sheet --page --stats -n --dry-run -q --quiet -v --verbose -h --help"
            case $prev in
                --score) words="cosine csls" flags="" files=no ;;
                --method) words="exact ivf" flags="" files=no ;;
                --dtype) words="float32 bfloat16" flags="" files=no ;;
                --index|--add|-o|--output|--errors|--sheet|--page|--stats) flags="" ;;
                --max-item-size|--top|--prototype-by|--text|--text-key|--max-errors|--shard|--shard-offset|--limit|--backend|--model|--device|--batch-size) flags="" files=no ;;
            esac
            ;;
        eval)
            flags="--max-item-size --reference --pair-by --others --each --text-model --prompt-key --leakage --diversity --label --content-label --ranks --benchmark --system --tier --table --make-benchmark --styles --per-style --queries --group --one-per-group --shared-contents --where --split-key --bias --control --nouns --floor --originals --frequency-key --protocol --make-preference --comparisons --preference -o --output --errors --max-errors --json --resume --overwrite --force --shard --shard-offset --limit --seed --backend --model --device --dtype --base-url --concurrency --timeout --retries --batch-size --sheet --page --cache --stats -n --dry-run -q --quiet -v --verbose -h --help"
            case $prev in
                --dtype) words="float32 bfloat16" flags="" files=no ;;
                --reference|--others|--benchmark|--table|--make-benchmark|--nouns|--floor|--originals|--make-preference|--preference|-o|--output|--errors|--sheet|--page|--cache|--stats) flags="" ;;
                --max-item-size|--pair-by|--text-model|--prompt-key|--label|--content-label|--ranks|--system|--tier|--styles|--per-style|--queries|--group|--where|--split-key|--control|--frequency-key|--protocol|--comparisons|--max-errors|--shard|--shard-offset|--limit|--seed|--backend|--model|--device|--base-url|--concurrency|--timeout|--retries|--batch-size) flags="" files=no ;;
            esac
            ;;
        ls)
            flags="--max-item-size --paths -0 --null -o --output --errors --max-errors --overwrite --limit --stats -n --dry-run -q --quiet -v --verbose -h --help"
            case $prev in
                -o|--output|--errors|--stats) flags="" ;;
                --max-item-size|--max-errors|--limit) flags="" files=no ;;
            esac
            ;;
        status)
            flags="--json --array -h --help"
            ;;
        doctor)
            flags="--prepare --json -h --help"
            ;;
        completion)
            flags="-h --help"
            words="bash zsh fish" files=no
            ;;
        help)
            flags=""
            words="caption dedup cluster pair synth train-encoder train-flux transfer retrieve eval ls status doctor completion" files=no
            ;;
        *) files=no ;;
    esac
    case $ended$cur in -*) words=$flags ;; esac
    # compopt works while readline completes, and not at all in bash 3
    [ $files = yes ] || compopt +o default +o bashdefault 2> /dev/null
    # shellcheck disable=SC2207  # no word holds a space; mapfile is not in bash 3
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o bashdefault -o default -F _megastyle megastyle
