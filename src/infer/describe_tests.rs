use super::super::sidecar::OutputSection;
use super::*;

fn image(element: ElementType, dims: [i32; 4]) -> Signature {
    let dims = dims.iter().map(|dim| usize::try_from(*dim).ok()).collect();
    let input =
        InputSpec { name: "images".to_owned(), element: Some(element), type_name: element.to_string(), dims };
    let output = OutputDescription { name: "output0".to_owned(), dims: vec![None, Some(84), Some(2100)] };
    Signature { inputs: vec![input], outputs: vec![output], ..Signature::default() }
}

fn plain(signature: Signature) -> Result<ModelDescription, InferError> {
    describe(signature, Sidecar::default(), Context::default())
}

fn with_input(signature: Signature, input: InputSection) -> Result<ModelDescription, InferError> {
    describe(signature, Sidecar { input, ..Sidecar::default() }, Context::default())
}

fn message(result: Result<ModelDescription, InferError>) -> String {
    let error = result.unwrap_err();
    assert!(matches!(error, InferError::ModelUnsupported { .. }), "{error:?}");
    error.to_string()
}

#[test]
fn planes_of_floats_default_to_rgb_of_zero_to_one() {
    let model = plain(image(ElementType::F32, [-1, 3, 240, 320])).unwrap();
    assert_eq!((model.layout, model.batch, model.size), (Layout::Nchw, Batch::Dynamic, Size::new(320, 240)));
    assert_eq!(
        (model.order, model.mean, model.std, model.pad),
        (ChannelOrder::Rgb, [0.0; 3], [255.0; 3], 114)
    );
    assert_eq!(model.row_len, 3 * 320 * 240);
}

#[test]
fn pixels_of_bytes_default_to_raw_rgb() {
    let model = plain(image(ElementType::U8, [4, 240, 320, 3])).unwrap();
    assert_eq!((model.layout, model.batch, model.size), (Layout::Nhwc, Batch::Fixed(4), Size::new(320, 240)));
    assert_eq!((model.mean, model.std), ([0.0; 3], [1.0; 3]));
}

#[test]
fn a_dynamic_size_comes_from_the_sidecar_before_the_metadata() {
    let mut signature = image(ElementType::F16, [-1, 3, -1, -1]);
    assert!(message(plain(signature.clone())).contains("`size = [width, height]`"));
    signature.imgsz = Some("[480, 640]".to_owned());
    assert_eq!(plain(signature.clone()).unwrap().size, Size::new(640, 480));
    let input = InputSection { size: Some([320, 160]), ..InputSection::default() };
    assert_eq!(with_input(signature, input).unwrap().size, Size::new(320, 160));
}

#[test]
fn a_size_against_the_models_own_is_refused_with_both() {
    let input = InputSection { size: Some([320, 320]), ..InputSection::default() };
    let error = message(with_input(image(ElementType::F32, [-1, 3, 640, 640]), input));
    assert!(error.contains("width 320") && error.contains("[?, 3, 640, 640] f32"), "{error}");
}

#[test]
fn an_unreadable_image_size_is_refused() {
    for imgsz in ["", "[]", "[0, 1]", "[1, 2, 3]", "[a]", "[-1]"] {
        let mut signature = image(ElementType::F32, [-1, 3, -1, -1]);
        signature.imgsz = Some(imgsz.to_owned());
        assert!(message(plain(signature)).contains("imgsz"), "{imgsz}");
    }
}

#[test]
fn inputs_that_are_no_image_are_refused_with_what_was_found() {
    let mut two = image(ElementType::F32, [-1, 3, 8, 8]);
    two.inputs.push(two.inputs[0].clone());
    assert!(message(plain(two)).contains("exactly one input, an image, found 2: images, images"));

    let mut flat = image(ElementType::F32, [-1, 3, 8, 8]);
    flat.inputs[0].dims.pop();
    assert!(message(plain(flat)).contains("found [?, 3, 8] f32"));

    assert!(message(plain(image(ElementType::F32, [-1, 1, 8, 8]))).contains("three channels"));
    assert!(message(plain(image(ElementType::F32, [0, 3, 8, 8]))).contains("above 0"));
    assert!(message(plain(image(ElementType::F32, [1, 3, i32::MAX, i32::MAX]))).contains("at most"));

    let mut text = image(ElementType::F32, [-1, 3, 8, 8]);
    text.inputs[0].element = None;
    text.inputs[0].type_name = "String".to_owned();
    assert!(message(plain(text)).contains("f32, f16 or u8 elements, found [?, 3, 8, 8] String"));

    let mut mute = image(ElementType::F32, [-1, 3, 8, 8]);
    mute.outputs.clear();
    assert!(message(plain(mute)).contains("at least one output"));
}

#[test]
fn a_layout_the_shape_leaves_open_is_the_sidecars() {
    let both = image(ElementType::F32, [-1, 3, 8, 3]);
    assert_eq!(plain(both.clone()).unwrap().layout, Layout::Nchw);
    let nhwc = InputSection { layout: Some(Layout::Nhwc), ..InputSection::default() };
    assert_eq!(with_input(both, nhwc.clone()).unwrap().size, Size::new(8, 3));
    let error = message(with_input(image(ElementType::F32, [-1, 3, 8, 8]), nhwc));
    assert!(error.contains("the sidecar says nhwc"), "{error}");
}

#[test]
fn a_mean_alone_is_taken_from_raw_values() {
    let input = InputSection { mean: Some([1.0, 2.0, 3.0]), ..InputSection::default() };
    let model = with_input(image(ElementType::F32, [-1, 3, 8, 8]), input.clone()).unwrap();
    assert_eq!((model.mean, model.std), ([1.0, 2.0, 3.0], [1.0; 3]));
    assert!(message(with_input(image(ElementType::U8, [-1, 8, 8, 3]), input)).contains("u8 input"));
}

#[test]
fn labels_come_from_the_user_then_the_sidecar_then_the_metadata() {
    let mut signature = image(ElementType::F32, [-1, 3, 8, 8]);
    signature.names = Some("{0: 'meta'}".to_owned());
    signature.stride = Some("32".to_owned());
    signature.task = Some("detect".to_owned());
    let output = OutputSection { names: Some(vec!["side".to_owned()]), ..OutputSection::default() };
    let sidecar = Sidecar { output, ..Sidecar::default() };
    let context = Context { labels: Some(vec!["user".to_owned()]), ..Context::default() };

    let model = plain(signature.clone()).unwrap();
    assert_eq!(model.labels.unwrap(), ["meta"]);
    assert_eq!((model.stride, model.task.as_deref()), (Some(32), Some("detect")));
    let model = describe(signature.clone(), sidecar.clone(), Context::default()).unwrap();
    assert_eq!(model.labels.unwrap(), ["side"]);
    assert_eq!(describe(signature.clone(), sidecar, context).unwrap().labels.unwrap(), ["user"]);

    signature.names = Some("not a dictionary".to_owned());
    assert_eq!(plain(signature).unwrap().labels, None);
}
